"""One recipe for all models of the comparison of architectures that ship: garden/TASK-ARCHITECTURE, the learning rate
that was best for it on seed 0. Data, sizes and steps are the task's (`interp.garden.comparison`), the same for all.
"""

RATES: dict[str, dict[str, float]] = {
    "recall": {
        "attn-only-rotary": 0.001, "llama": 0.016, "momentum": 0.004, "token-shift": 0.004, "gla": 0.001,
        "gpt": 0.004, "rotary": 0.016, "smeared-keys": 0.004, "short-conv-keys": 0.004, "urpe": 0.016,
        "sigmoid-attention": 0.004, "mamba2-hybrid": 0.001,
    },
    "repeats": {
        "attn-only-rotary": 0.016, "llama": 0.004, "momentum": 0.004, "token-shift": 0.016, "gla": 0.004,
        "gpt": 0.016, "rotary": 0.016, "smeared-keys": 0.004, "short-conv-keys": 0.016, "urpe": 0.016,
        "sigmoid-attention": 0.004, "mamba2-hybrid": 0.004,
    },
}
NAMES = tuple(f"{task}-{architecture}" for task, rates in RATES.items() for architecture in rates)
MODULE = "interp.garden.comparison.shipped"  # has `recipe`; it stands above this package
