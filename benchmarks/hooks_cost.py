"""What hooks cost: no hooks, 12 sites, everything, against the bare library and raw torch hooks.

Run: python -m benchmarks.hooks_cost
"""

import resource
import subprocess
import sys
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.raw_hooks import inputs_and_outputs, same_tensors
from benchmarks.timing import ratios, show
from interp.adapters import hook
from interp.hooks import HookedModel

RESID_POST = [f"blocks.{i}.hook_resid_post" for i in range(12)]
RAW, EVERYTHING = "raw torch hooks, the same tensors", "interp, everything cached"


def gpt2(d_model: int, heads: int, vocab: int) -> GPT2LMHeadModel:
    """A random 12-layer GPT-2 with eager attention, so that both sides run the same kernels."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=d_model, n_head=heads, vocab_size=vocab, bos_token_id=None, eos_token_id=None,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config).eval()


def own_candidates(model: HookedModel, x: torch.Tensor) -> dict[str, Callable[[], object]]:
    """The library model first, then the workbench with no hooks, 12 sites and everything."""
    return {
        "library model": lambda: model.module(x, use_cache=False).logits,
        "interp, no hooks": lambda: model(x),
        "interp, 12 sites cached": lambda: model.run_with_cache(x, RESID_POST),
        EVERYTHING: lambda: model.run_with_cache(x),
    }


def check_same(model: HookedModel, x: torch.Tensor) -> None:
    """The two sides of the comparison hold the same tensors, or there is nothing to compare."""
    ours, raw = model.run_with_cache(x)[1], same_tensors(model.module, x)()
    differ = set(ours) ^ set(raw) or [n for n in ours if not torch.allclose(ours[n], raw[n], atol=1e-4)]
    if differ:
        raise RuntimeError(f"raw hooks and run_with_cache disagree about {sorted(differ)[:3]}")


def shape(title: str, module: GPT2LMHeadModel, x: torch.Tensor, rounds: int, goals: dict[str, float]) -> None:
    """Two tables for one shape of model."""
    model = hook(module)
    paths = {tap.path for site, tap in model.map.sites.values() if not site.on_request}
    with torch.no_grad():
        check_same(model, x)
        found = ratios(own_candidates(model, x) | {
            "interp, one no-op hook": lambda: model.run_with_hooks(x, [(RESID_POST[0], lambda v, site: None)]),
        }, rounds)
        everything = ratios({
            RAW: same_tensors(module, x),
            EVERYTHING: lambda: model.run_with_cache(x),
            "raw torch hooks, inputs and outputs only": inputs_and_outputs(module, x, paths),
        }, rounds)
    show(title, found, goals)
    show(f"{title}: everything cached", everything, {EVERYTHING: 1.1})


def import_cost() -> None:
    """CPU time that `import interp` adds to `import torch`, best of 5 fresh processes."""
    def best(code: str) -> float:
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return 1e3 * min(times)

    codes = {"import torch": "import torch", "and interp": "import torch, interp",
             "and interp.load, interp.discover": "import torch, interp; interp.load, interp.discover"}
    times = {name: best(code) for name, code in codes.items()}
    found = {name: (ms, ms / times["import torch"], 0.0) for name, ms in times.items()}
    show("Imports (goal: interp adds less than 1000 ms to torch)", found)


def main() -> None:
    """Show all tables."""
    small = gpt2(64, 4, 100)
    shape("12 layers, 64 wide, 1 x 16 tokens", small, torch.randint(0, 100, (1, 16)), 61,
          {"interp, no hooks": 1.05, "interp, 12 sites cached": 1.3})
    big = gpt2(768, 12, 50257)
    shape("GPT-2-small shape, 4 x 128 tokens", big, torch.randint(0, 50257, (4, 128)), 7, {"interp, no hooks": 1.02})
    import_cost()


if __name__ == "__main__":
    main()
