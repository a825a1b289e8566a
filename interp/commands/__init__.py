"""The commands: they read what was typed, call the package, and print. Nothing is computed here."""
