"""Other tools, each measured beside interp in an environment of its own: `python -m benchmarks.peers`."""
