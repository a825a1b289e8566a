"""Benchmarks against other tools, each in an environment of its own together with interp: `python -m benchmarks.peers`."""
