"""Benchmarks: ratios within one run. `python -m benchmarks` for the costs; `.peers` and `.meaning` run on their own."""

from interp.adapters._torchvision import mend

mend()  # the benchmarks build library models themselves, and so import transformers before any adapter does
