"""Sorting ten numbers, in one attention-only layer of the garden."""

from circuits._run import Script

SCRIPT = Script("sorting", task="sorting", model="garden/sorting-1l", n=128, draws=200)

if __name__ == "__main__":
    SCRIPT.main()
