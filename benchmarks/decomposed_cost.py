"""What the decomposed engine costs: 1, 12 and 144 heads of a GPT-2-small shape, against plain forwards of the library.

One prompt of 16 tokens, float32, one thread, random weights; the metric reads a logit difference at the last position.
`effects` includes its clean run (1.0). Beside it "12 rows": a plain forward of as many rows, which is what the parts of
12 sources cost if decomposing were nothing but its matrix products. Nothing is asserted.
Run: python -m benchmarks.decomposed_cost [rounds]
"""

import os
import sys

import torch

from benchmarks.effects_cost import LastLogits, heads
from benchmarks.hooks_cost import gpt2
from benchmarks.timing import ratios, show
from interp.adapters import hook
from interp.effects import decompose, effects
from interp.hooks import Source

RULES = ("cdt", "local-shapley")


def main() -> None:
    """Print ratios of few sources, then of all heads."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    module = gpt2(768, 12, 50257)
    x = torch.randint(0, 50257, (1, 16), generator=torch.Generator().manual_seed(0))
    model, metric = hook(module), LastLogits(torch.tensor([15]))

    def run(sources, rules: str):
        return lambda: effects(model, x, sources, metric, rules)

    plain = {"plain forward of the library": lambda: module(x, use_cache=False)}
    few = plain | {"12 rows": lambda: module(x.repeat(12, 1), use_cache=False)}
    for rules in (*RULES, "ablation"):
        for depth in (0, 6, 11):
            few[f"{rules}, 1 head of depth {depth}"] = run([Source(f"blocks.{depth}.attn.hook_z", head=3)], rules)
        for depth in (0, 6):
            twelve = [Source(f"blocks.{depth}.attn.hook_z", head=h) for h in range(12)]
            few[f"{rules}, 12 heads of depth {depth}"] = run(twelve, rules)
    early, late = Source("blocks.0.attn.hook_z", head=3), ["blocks.3.attn.hook_z"]
    few["cdt, 1 head of depth 0 to z of depth 3"] = lambda: decompose(model, x, [early], late, "cdt")
    with torch.no_grad():
        show("One head, and 12 at once", ratios(few, rounds))
        every = {rules: run(heads(model), rules) for rules in (*RULES, "ablation")}
        show("All 144 heads (the paper's code: 85)", ratios(plain | every, max(1, rounds // 2)))
    load = os.getloadavg()[0]
    print(f"load {load:.1f} on {os.cpu_count()} cores; {rounds} interleaved rounds, CPU seconds, one thread")


if __name__ == "__main__":
    main()
