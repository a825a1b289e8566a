"""The contract on one entry of the catalog: a small model, shaken so that nothing holds by luck, under all laws."""

import torch

from interp.architectures.entry import Entry
from interp.hooks.check import Check, check_model
from interp.hooks.model import HookedModel, Inputs

SMALL = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)
OWN: dict[str, dict[str, int]] = {"mamba2-hybrid": {"n_layers": 4}}  # the first of its attention blocks is the third


def shaken(entry: Entry, dtype: torch.dtype = torch.float32) -> tuple[HookedModel, Inputs]:
    """A small model of the entry and an input for it. Noise on every parameter: a gain of 1 and a bias of 0 would hide
    one that was forgotten."""
    sizes = SMALL | OWN.get(entry.name, {})
    model = entry.make(seed=0, **{size: value for size, value in sizes.items() if size in entry.sizes})
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    model = model.to(dtype)
    x = entry.example(model)
    return model, x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def check_entry(entry: Entry, dtype: torch.dtype = torch.float32) -> Check:
    """Every law of `interp.hooks.check` on that model: one row a law and place."""
    return check_model(*shaken(entry, dtype))


def places(check: Check) -> dict[str, int]:
    """{law: at how many sites, blocks or parameters it was tested}, in the order of the laws."""
    found: dict[str, int] = {}
    for row in check.rows:
        found[row.law] = found.get(row.law, 0) + 1
    return found
