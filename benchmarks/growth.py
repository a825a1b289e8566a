"""How the cost of discovery grows: with layers, heads, positions and prompts, one of them doubled at a time.

A random GPT-2 of 6 layers, 6 heads of 32, 16 tokens, 8 pairs, one thread. Each size runs in a fresh process, which also
gives its peak memory over what it held before. Run: python -m benchmarks.growth
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache, partial

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.edges import Pairs
from benchmarks.effects_cost import LastLogits
from benchmarks.memory import peak_over_base
from benchmarks.timing import show_rows
from interp.adapters import hook
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.edge_scores import linear_edge_effects
from interp.discovery.graph import Graph
from interp.discovery.nodes import nodes, source
from interp.effects import effects
from interp.hooks import Counterfactual

BASE = {"layers": 6, "heads": 6, "positions": 16, "prompts": 8}
WHAT = ("plain forward", "every node ablated", "every edge, tangent", "one circuit of half the edges")
D_HEAD, VOCAB, ROUNDS = 32, 1000, 3


def calls(layers: int, heads: int, positions: int, prompts: int) -> dict[str, Callable[[], object]]:
    """What is timed at one size, a plain forward first."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=layers, n_head=heads, n_embd=heads * D_HEAD, vocab_size=VOCAB, n_positions=64,
                        bos_token_id=None, eos_token_id=None)
    module = GPT2LMHeadModel(config).eval()
    model = hook(module)
    clean, corrupt = torch.randint(0, VOCAB, (2, prompts, positions))
    part = Pairs(clean, corrupt, LastLogits(torch.full((prompts,), positions - 1)))
    graph = Graph(model)
    circuits = cache(lambda: EdgeCircuits(model, part, graph))
    sources = [source(node) for node in nodes(model)]
    half = torch.rand(1, len(graph.edges), generator=torch.Generator().manual_seed(0)) < 0.5

    def plain():
        with torch.no_grad():
            return module(clean).logits

    return {
        WHAT[0]: plain,
        WHAT[1]: lambda: effects(model, clean, sources, part.metric, baseline=Counterfactual(corrupt)),
        WHAT[2]: lambda: linear_edge_effects(model, clean, corrupt, graph, part.metric, "tangent"),
        WHAT[3]: lambda: circuits().runner.run(half),
    }


def _quietly(call: Callable[[], object]) -> None:
    """Run, and keep nothing."""
    call()


def one(what: str, sizes: dict[str, int]) -> dict[str, float]:
    """Median CPU ms, and peak MiB of the first run with all it prepares, of one call in this process."""
    torch.set_num_threads(1)
    call = calls(**sizes)[what]
    memory = peak_over_base(partial(_quietly, call))["peak"]
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return {"ms": 1e3 * sorted(times)[len(times) // 2], "MiB": memory}


def apart(what: str, sizes: dict[str, int]) -> dict[str, float]:
    """`one`, in a fresh process: what a run frees stays with its process and would hide the next one's memory."""
    command = [sys.executable, "-m", "benchmarks.growth", what, json.dumps(sizes)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    """Every size and call; ratios to the base size."""
    lines = []
    for what in WHAT:
        base = apart(what, BASE)
        line = {"what": what, "base ms": f"{base['ms']:.1f}", "base MiB": f"{base['MiB']:.1f}"}
        for name in BASE:
            row = apart(what, BASE | {name: 2 * BASE[name]})
            line[f"2x {name}"] = f"{row['ms'] / base['ms']:.2f}x, {row['MiB']:.0f} MiB"
        lines.append(line)
    show_rows(f"cost and peak memory as one size doubles; base {BASE}", lines)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(one(sys.argv[1], json.loads(sys.argv[2]))))
    else:
        main()
