"""What hooks cost: no hooks, 12 sites, everything, against the bare library and raw torch hooks.

Run: python -m benchmarks.hooks_cost
"""

import resource
import subprocess
import sys

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.timing import ratios, show
from interp.adapters import hook
from interp.hooks import HookedModel


def gpt2(d_model: int, heads: int, vocab: int) -> GPT2LMHeadModel:
    """A random 12-layer GPT-2 with eager attention, so that both sides run the same kernels."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=d_model, n_head=heads, vocab_size=vocab, bos_token_id=None, eos_token_id=None,
        attn_implementation="eager",
    )
    return GPT2LMHeadModel(config).eval()


def raw_hooks(module: nn.Module, model: HookedModel, x: torch.Tensor):
    """The same tensors as `run_with_cache(x)` collects, by torch hooks that only keep inputs and outputs."""
    paths = {tap.path for site, tap in model.map.sites.values() if not site.on_request}

    def run():
        kept, handles = {}, []
        for path in paths:
            part = module.get_submodule(path)
            handles.append(part.register_forward_hook(
                lambda m, args, out, path=path: kept.__setitem__(path, (args, out))
            ))
        module(x, use_cache=False, output_attentions=True)
        for handle in handles:
            handle.remove()
        return kept

    return run


def shape(title: str, module: GPT2LMHeadModel, x: torch.Tensor, rounds: int, goals: dict[str, float]) -> None:
    """One table for one shape of model."""
    model = hook(module)
    posts = [f"blocks.{i}.hook_resid_post" for i in range(12)]
    with torch.no_grad():
        candidates = {
            "library model": lambda: module(x, use_cache=False).logits,
            "interp, no hooks": lambda: model(x),
            "interp, 12 sites cached": lambda: model.run_with_cache(x, posts),
            "interp, one no-op hook": lambda: model.run_with_hooks(x, [(posts[0], lambda v, site: None)]),
            "raw torch hooks, the same tensors": raw_hooks(module, model, x),
            "interp, everything cached": lambda: model.run_with_cache(x),
        }
        found = ratios(candidates, rounds)
    show(title, found, goals)
    everything, raw = found["interp, everything cached"], found["raw torch hooks, the same tensors"]
    relative = everything[0] / raw[0]
    print(f"everything cached / raw torch hooks collecting the same tensors: {relative:.3f} (goal <= 1.1)\n")


def import_cost() -> None:
    """CPU seconds that `import interp` adds to `import torch`, best of 5 fresh processes."""
    def best(code: str) -> float:
        times = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    print(f"import interp on top of torch: {best('import torch, interp') - best('import torch'):.2f} s (goal < 1 s)")
    extra = best("import torch, interp; interp.load, interp.discover") - best("import torch")
    print(f"the same with load and discover: {extra:.2f} s")


def main() -> None:
    """Print all tables."""
    small = gpt2(64, 4, 100)
    shape("12 layers, 64 wide, 1 x 16 tokens", small, torch.randint(0, 100, (1, 16)), 61,
          {"interp, no hooks": 1.05, "interp, 12 sites cached": 1.3})
    big = gpt2(768, 12, 50257)
    shape("GPT-2-small shape, 4 x 128 tokens", big, torch.randint(0, 50257, (4, 128)), 7, {"interp, no hooks": 1.02})
    import_cost()


if __name__ == "__main__":
    main()
