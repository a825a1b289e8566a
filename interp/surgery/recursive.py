"""A trained model as a recursive one: loops over few layers, relaxed by low-rank maps (Bae et al. 2024, 2410.20672)."""

from copy import deepcopy

from interp.hooks.model import HookedModel
from interp.parts import Model, hook
from interp.parts.relaxed import Start, relax
from interp.results.errors import BadInput


def recursive(model: HookedModel, n_shared: int, rank: int, start: Start = "stepwise") -> HookedModel:
    """`model` with the linear maps of its layers shared by loops over `n_shared` of them, plus maps of `rank` a layer.

    The low-rank part is the best of its rank (singular values) for what the shared map misses, so full rank is the
    model itself and rank 0 a plain loop with norms and biases of its own. `start` says what is shared: see
    `interp.parts.relaxed`. The model stays as it was. Raises BadInput for one that is not made of parts, is tied
    already, or whose layers do not divide into loops.
    """
    if not isinstance(model.module, Model):
        raise BadInput(f"recursive() shares the maps of a model of parts (gpt, llama ...), not of {model.name}")
    if n_shared < 1 or rank < 0:
        raise BadInput(f"n_shared is {n_shared} and rank {rank}; at least 1 layer and rank 0 are needed")
    module = relax(deepcopy(model.module), n_shared, rank, start)
    return hook(module, name=model.name, tokenizer=model.tokenizer)
