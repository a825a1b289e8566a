"""Circuits of real and small models: a script per task, and what each of them found, in `found/`."""
