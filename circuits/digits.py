"""Telling two handwritten digits apart, in the garden's small vision transformer."""

from circuits._run import Script

SCRIPT = Script("digits", task="digits", model="garden/digits-vit", n=128, draws=200)

if __name__ == "__main__":
    SCRIPT.main()
