"""What edges cost: EAP, EAP-IG, exact paths to the logits and circuits of edges, against a forward and backward.

A unit U is one forward and backward, with weight gradients, of the library's own model on the batch: GPT-2-small
shape, 8 pairs of 16 tokens, random weights, one thread. Peers, measured on a like machine: EAP takes TransformerLens
34 U, auto-circuit 12.4, the EAP-IG repository 12.1 (EAP-IG 43); a circuit of 1,000 edges 35 (one example), 3.3, 4.9.
Run: python -m benchmarks.edges [rounds]
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.effects_cost import LastLogits
from benchmarks.hooks_cost import gpt2
from benchmarks.timing import ratios, show
from interp.adapters import hook
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.edge_scores import linear_edge_effects
from interp.discovery.graph import OUTPUT, Graph
from interp.discovery.nodes import nodes, source
from interp.effects import effects
from interp.hooks import Counterfactual

PROMPTS, TOKENS, KEPT = 8, 16, 1000


@dataclass(frozen=True)
class Pairs:
    """Clean and corrupt prompts with a metric: what the runs of edges look at."""

    clean: Tensor
    corrupt: Tensor
    metric: LastLogits


def main(rounds: int = 5) -> None:
    torch.manual_seed(0)
    module = gpt2(768, 12, 50257)
    model = hook(module)
    clean, corrupt = torch.randint(0, 50257, (2, PROMPTS, TOKENS))
    part = Pairs(clean, corrupt, LastLogits(torch.full((PROMPTS,), TOKENS - 1)))
    graph = Graph.of(model, clean[:1])
    circuits = EdgeCircuits(model, part, graph)
    to_output = np.array([i for i, edge in enumerate(graph.edges) if edge.target == OUTPUT])
    singles = np.ones((len(to_output), len(graph.edges)), dtype=bool)
    singles[np.arange(len(to_output)), to_output] = False
    generator = np.random.default_rng(0)
    sources = [source(node) for node in nodes(model)]

    def unit():
        module.zero_grad(set_to_none=True)
        module(clean).logits[:, -1, 5].sum().backward()

    def circuit():
        mask = np.zeros((1, len(graph.edges)), dtype=bool)
        mask[0, generator.choice(len(graph.edges), KEPT, replace=False)] = True
        circuits.runner.run(torch.from_numpy(mask))

    def paths():
        circuits.runner.run(torch.from_numpy(singles))

    def rules(name: str):
        return lambda: linear_edge_effects(model, clean, corrupt, graph, part.metric, name)

    found = ratios(
        {
            "U: forward and backward of the library": unit,
            f"EAP, {len(graph.edges)} edges": rules("tangent"),
            "EAP-IG, 5 steps": rules("integrated"),
            f"exact paths of {len(to_output)} writers to the logits": paths,
            f"faithfulness of a circuit of {KEPT} edges": circuit,
            "tangent of all heads and MLPs": lambda: effects(
                model, clean, sources, part.metric, "tangent", baseline=Counterfactual(corrupt)),
        },
        rounds,
    )
    goals = dict(zip(list(found)[1:], (2.5, 8, 1, 1.5, 2)))
    show("edges of a GPT-2-small shape, 8 pairs of 16 tokens (in U)", found, goals)


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
