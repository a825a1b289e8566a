"""Which activations a model computes from which: the wires of one forward, measured and not written down.

Every site is cut (its value goes on as a fresh leaf), so that what a site is made of reaches it through no other site;
    a -> b    where the gradient of <random, b> with respect to the leaf of a is not zero
A site that no gradient reaches (a choice, an argmax, a constant of the weights) has no wires in; `Wiring.loose` names
those, and whoever draws them says so.

Surprise: walking autograd's own graph is not enough. Queries, keys and values are slices of one fused projection, and
an edit of the query is written back into it, so the graph leads from query to key; the gradient along it is zero.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.hooks.model import HookedModel, Inputs
from interp.hooks.site import Site


@dataclass(frozen=True)
class Wiring:
    """`order`: names of sites as they were computed; `wires`: (from, to); `shapes` of that run; `loose`: sites that
    gradients do not reach."""

    order: tuple[str, ...]
    wires: tuple[tuple[str, str], ...]
    shapes: dict[str, tuple[int, ...]]
    loose: tuple[str, ...]


def wiring(model: HookedModel, x: Inputs, *, seed: int = 0) -> Wiring:
    """The wires between the sites of `model` in one forward of `x`, those on request left out.

    What `x` switches off (a dead unit, an expert that no token is sent to) has no wire: a few random prompts see more.
    """
    leaves: dict[str, Tensor] = {}
    values: dict[str, Tensor] = {}

    def cut(value: Tensor, site: Site) -> Tensor | None:
        values[site.name] = value
        if not value.is_floating_point():
            return None
        # a clone, because libraries change activations in place and a leaf must not be
        leaves[site.name] = value.detach().clone().requires_grad_()
        return leaves[site.name].view_as(leaves[site.name])

    names = [site.name for site in model.sites() if not site.on_request]
    with model.firing([(name, cut) for name in names]), torch.enable_grad():
        model(x)
    drawn = torch.Generator().manual_seed(seed)
    wires: list[tuple[str, str]] = []
    loose: list[str] = []
    for at, (name, value) in enumerate(values.items()):
        before = [earlier for earlier in list(values)[:at] if earlier in leaves]
        if not value.requires_grad or not before:
            loose.append(name)
            continue
        weights = torch.randn(value.shape, generator=drawn, dtype=value.dtype)
        found = torch.autograd.grad((value * weights).sum(), [leaves[earlier] for earlier in before],
                                    retain_graph=True, allow_unused=True)
        reached = [earlier for earlier, slope in zip(before, found) if slope is not None and bool(slope.any())]
        wires += [(earlier, name) for earlier in reached]
        if not reached:
            loose.append(name)
    return Wiring(tuple(values), tuple(wires), {name: tuple(v.shape) for name, v in values.items()}, tuple(loose))
