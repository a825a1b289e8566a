"""The dashboard: presents results and calls the library. README.md says how to add a page."""
