"""Closing the innermost of two kinds of brackets, in two layers of the garden."""

from circuits._run import Script

SCRIPT = Script("dyck", task="dyck", model="garden/dyck-2l", n=128, draws=200)

if __name__ == "__main__":
    SCRIPT.main()
