"""The checking functions of the notebooks, a file per notebook: they accept right answers and reject wrong ones."""
