"""What effects cost: all 144 heads of a GPT-2-small shape on one metric, against plain forwards of the library's model.

One prompt of 16 tokens, float32, one thread, random weights; the metric reads a logit difference at the last position.
Nothing is asserted: the machine's load is printed beside the ratios. Run: python -m benchmarks.effects_cost [rounds]
"""

import os
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.hooks_cost import gpt2
from benchmarks.timing import ratios, show
from interp.adapters import hook
from interp.effects import effects
from interp.hooks import Counterfactual, HookedModel, Source

LINEAR = ("tangent", "relp", "frozen", "direct", "integrated")


@dataclass(frozen=True)
class LastLogits:
    """Logit difference of two tokens at one position a prompt, in the form that the engines gather."""

    positions: Tensor

    def read(self, at: Tensor) -> Tensor:
        return at[:, 5] - at[:, 9]

    def __call__(self, output: Tensor) -> Tensor:
        return self.read(output[torch.arange(len(output)), self.positions])


def heads(model: HookedModel) -> list[Source]:
    """Every head of every depth, all positions of each."""
    return [Source(s.name, head=h) for s in model.sites("blocks.*.attn.hook_z") for h in range(s.heads)]


def all_heads(model: HookedModel, x: Tensor, corrupt: Tensor, rounds: int) -> None:
    """One call for 144 heads, by rule set and baseline."""
    metric, sources = LastLogits(torch.tensor([x.shape[1] - 1])), heads(model)
    plain = {"plain forward of the library": lambda: model.module(x, use_cache=False)}

    def run(rules: str, baseline):
        return lambda: effects(model, x, sources, metric, rules, baseline=baseline)

    other = Counterfactual(corrupt)
    calls = {"ablation, zero": run("ablation", "zero"), "ablation, counterfactual": run("ablation", other)}
    calls |= {f"{rules}, counterfactual": run(rules, other) for rules in LINEAR}
    goals = {name: 25 if name.startswith("ablation") else 5 for name in calls if not name.startswith("integrated")}
    with torch.no_grad():
        found = ratios(plain | calls, rounds)
    show("144 heads, metric at one position (the paper's code: 85)", found, goals)


def one_source(model: HookedModel, x: Tensor, rounds: int) -> None:
    """A single head early, in the middle and late."""
    metric = LastLogits(torch.tensor([x.shape[1] - 1]))
    calls = {"plain forward of the library": lambda: model.module(x, use_cache=False)}
    for rules in ("ablation", "cdt", "local-shapley"):
        for depth in (0, 6, 11):
            source = [Source(f"blocks.{depth}.attn.hook_z", head=3)]
            calls[f"{rules}, depth {depth}"] = lambda rules=rules, s=source: effects(model, x, s, metric, rules)
    with torch.no_grad():
        show("One head, clean run and baseline included", ratios(calls, rounds))


def main() -> None:
    """Print both tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    module = gpt2(768, 12, 50257)
    generator = torch.Generator().manual_seed(0)
    x, corrupt = (torch.randint(0, 50257, (1, 16), generator=generator) for _ in range(2))
    model = hook(module)
    all_heads(model, x, corrupt, rounds)
    one_source(model, x, rounds)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{load}; {rounds} interleaved rounds, CPU seconds, one thread")


if __name__ == "__main__":
    main()
