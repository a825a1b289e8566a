"""A trained model as a recursive one: loops over few layers, relaxed by low-rank maps (Bae et al. 2024, 2410.20672)."""

from copy import deepcopy
from types import SimpleNamespace

import torch
from torch import nn

from interp.depth.rewired import shared_copy
from interp.hooks.model import HookedModel
from interp.parts import Model, hook
from interp.parts.relaxed import RelaxedLinear, Start, relax
from interp.results.errors import BadInput
from interp.surgery.report import Surgery, compared


def recursive(model: HookedModel, n_shared: int, rank: int, start: Start = "stepwise") -> HookedModel:
    """`model` with the linear maps of its layers shared by loops over `n_shared` of them, plus maps of `rank` a layer.

    The low-rank part is the best of its rank (singular values) for what the shared map misses, so full rank is the
    model itself and rank 0 a plain loop with norms and biases of its own. `start` says what is shared: see
    `interp.parts.relaxed`. The model stays as it was. For models of parts, and those of a library whose blocks are
    alike and made of `torch.nn.Linear`. Raises BadInput for others, for one that is tied already, or whose layers do
    not divide into loops.
    """
    if n_shared < 1 or rank < 0:
        raise BadInput(f"n_shared is {n_shared} and rank {rank}; at least 1 layer and rank 0 are needed")
    if isinstance(model.module, Model):
        module = relax(deepcopy(model.module), n_shared, rank, start)
        return hook(module, name=model.name, tokenizer=model.tokenizer)
    copy = shared_copy(model)
    blocks = [copy.module.get_submodule(block.path) for block in copy.map.blocks.values()]
    maps = [{p: m.weight.shape for p, m in block.named_modules() if isinstance(m, nn.Linear)} for block in blocks]
    shares = len({id(p) for b in blocks for p in b.parameters()}) < sum(len(list(b.parameters())) for b in blocks)
    if shares or not maps[0] or any(m != maps[0] for m in maps):
        raise BadInput("recursive() shares the maps of a model of parts (gpt, llama ...), or of a library's blocks "
                       f"that are alike and made of linear maps of their own, not of {model.name}")
    relax(SimpleNamespace(blocks=blocks, spec=SimpleNamespace(n_layers=len(blocks))), n_shared, rank, start)
    return copy


def tie(model: HookedModel, n_shared: int, rank: int, start: Start = "stepwise") -> tuple[HookedModel, Surgery]:
    """`recursive`, and its report: `residual_energy` is the share of what the shared maps alone miss (squares, summed
    over all maps and layers) that the low-rank parts miss too: 1 at rank 0, 0 at full rank."""
    new = recursive(model, n_shared, rank, start)
    missed, left = 0.0, 0.0
    for before, after in zip(model.map.blocks.values(), new.map.blocks.values()):
        old = model.module.get_submodule(before.path)
        for path, part in new.module.get_submodule(after.path).named_modules():
            if isinstance(part, RelaxedLinear):
                weight = old.get_submodule(path).weight.detach().double()
                with torch.no_grad():
                    missed += float((weight - part.shared.weight.double()).pow(2).sum())
                    left += float((weight - part.weight.double()).pow(2).sum())
    return new, compared("tie", model, new, (f"loops over {n_shared}, rank {rank}",),
                         residual_energy=left / missed if missed else 0.0)
