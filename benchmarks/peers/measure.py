"""Inside a peer's environment: interp and the peer, interleaved in one process, one thread, CPU time.

Run by `python -m benchmarks.peers` as `python -m benchmarks.peers.measure PEER OUT.json`.
"""

import importlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from benchmarks.effects_cost import LastLogits, heads
from benchmarks.hooks_cost import EVERYTHING, RAW, check_same, gpt2, own_candidates
from benchmarks.memory import unique_bytes
from benchmarks.peers.environments import PINS
from benchmarks.raw_hooks import same_tensors
from benchmarks.timing import against, ratios, recording, show, show_rows
from interp.adapters import hook
from interp.effects import effects
from interp.hooks import Counterfactual, Source

SHAPES = {  # title: (width, heads, vocabulary, batch, positions, rounds)
    "12 layers, 64 wide, 1 x 16 tokens": (64, 4, 100, 1, 16, 41),
    "GPT-2-small shape, 4 x 128 tokens": (768, 12, 50257, 4, 128, 5),
}
PAIRS, POSITIONS, ROUNDS = 8, 16, 3


def forwards(peer) -> None:
    """No hooks, 12 sites and everything, on both shapes; what "everything" is differs, and is shown beside."""
    for title, (width, n_heads, vocab, batch, positions, rounds) in SHAPES.items():
        module, generator = gpt2(width, n_heads, vocab), torch.Generator().manual_seed(0)
        model, x = hook(module), torch.randint(0, vocab, (batch, positions), generator=generator)
        with torch.no_grad():
            check_same(model, x)
            own = own_candidates(model, x) | {RAW: same_tensors(module, x)}
            theirs = peer.forwards(gpt2(width, n_heads, vocab), x)
            theirs = {f"{peer.NAME}, {what}": run for what, run in theirs.items()}
            check_output(peer, theirs, module(x, use_cache=False).logits)
            found = ratios(own | theirs, rounds)
            everything = f"{peer.NAME}, everything cached"
            show(title, found)
            show(f"{title}: everything", against(found, EVERYTHING, RAW) | against(found, EVERYTHING, everything))
            held = {EVERYTHING: list(model.run_with_cache(x)[1].values()),
                    everything: peer.entries(theirs[everything]())}
        show_rows(f"{title}: what a full cache holds", [
            {"what": name, "entries": len(values), "unique_mib": round(unique_bytes(values) / 2**20, 2)}
            for name, values in held.items()
        ])


def check_output(peer, theirs: dict, logits: torch.Tensor) -> None:
    """The peer computes the same model, or there is nothing to compare."""
    out = theirs[f"{peer.NAME}, no hooks"]()
    if not torch.allclose(out, logits, atol=1e-3):
        raise RuntimeError(f"{peer.NAME} gives other logits than the library: {float((out - logits).abs().max()):.2g}")


def discovery(peer) -> None:
    """Scores of 144 heads (and 12 MLPs) on a logit difference at one position, 8 pairs of 16 tokens."""
    module, generator = gpt2(768, 12, 50257), torch.Generator().manual_seed(0)
    clean, corrupt = (torch.randint(0, 50257, (PAIRS, POSITIONS), generator=generator) for _ in range(2))
    theirs = peer.discovery(gpt2(768, 12, 50257), clean, corrupt, last_logits)
    if not theirs:
        return
    model = hook(module)
    metric, sources = LastLogits(torch.full((PAIRS,), POSITIONS - 1)), heads(model)
    nodes = sources + [Source(site.name) for site in model.sites("blocks.*.hook_mlp_out")]
    scores: dict[str, torch.Tensor] = {}

    def ours(rules, chosen):
        return lambda: effects(model, clean, chosen, metric, rules, baseline=Counterfactual(corrupt)).mean[:144]

    calls = {"interp, ablation of 144 heads": ours("ablation", sources),
             "interp, tangent of 144 heads + 12 MLPs": ours("tangent", nodes)}
    calls |= {f"{peer.NAME}, {name}": run for name, run in theirs.items()}

    def plain():
        with torch.no_grad():
            return module(clean, use_cache=False)

    kept = {name: lambda name=name, run=run: scores.__setitem__(name, run()) for name, run in calls.items()}
    found = ratios({"library model, one forward of the 8": plain} | kept, ROUNDS, warm=False)
    title = "Circuit discovery, GPT-2-small shape, 8 pairs of 16 tokens"
    show(title, found)
    for own, other in zip(list(calls)[:2], list(calls)[2:]):
        show(f"{title}: the same question", against(found, other, own))
        a, b = scores[own].double().numpy(), scores[other].double().numpy()
        show_rows(f"{own} and {other}: the same answer?", [
            {"heads": len(a), "correlation": round(float(np.corrcoef(a, b)[0, 1]), 6),
             "largest_difference": f"{np.abs(a - b).max() / np.abs(a).max():.1e} of the largest score"},
        ])


def last_logits(logits: torch.Tensor) -> torch.Tensor:
    """Logit difference of two tokens at the last position, [batch]."""
    return logits[:, -1, 5] - logits[:, -1, 9]


def main() -> None:
    """Measure, show, and write the tables with the versions of this environment to a JSON file."""
    name, out = sys.argv[1], Path(sys.argv[2])
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    with recording() as tables:
        forwards(peer)
        discovery(peer)
    packages = [PINS[name].partition("==")[0], "transformers", "torch"]
    out.write_text(json.dumps({"versions": {p: version(p) for p in packages}, "tables": tables}))


if __name__ == "__main__":
    main()
