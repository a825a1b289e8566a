"""The equations of a model at work: what each writer adds to the stream, carried where it is read.

`resid_post == carry(resid_pre) + sum(contributions)`. `carry` is the identity in a pre-norm block and a linear map
(gain over the run's own denominator) in a post-norm one; shifts of norms become the term `constants`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from interp.hooks.sitemap import Add, Block, NormRef
from interp.results.errors import BadInput, MissingSite, RequiresPattern, RequiresResidualStream

CONSTANTS = "constants"


def block_at(model, depth: int, stream: str | None = None) -> Block:
    """The block at an execution depth (of `stream`: "encoder" or "decoder", where a model has two).

    Raises BadInput for a depth that is not there, naming what is.
    """
    prefix = f"{stream}.blocks.{depth}" if stream else f"blocks.{depth}"
    if prefix not in model.map.blocks:
        have = list(model.map.blocks)
        if not have:
            raise BadInput(f"{model.name} declares no blocks; give its site map an equation for each")
        raise BadInput(f"{model.name} has no block {prefix!r}; it has {have[0]!r} to {have[-1]!r} ({len(have)})")
    return model.map.blocks[prefix]


def norm_linear(model, ref: NormRef, cache: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The linear part of a norm with its statistics held at this run: gain * centre(x) / scale."""
    module = model.module.get_submodule(ref.path)
    if ref.role.center:
        x = x - x.mean(-1, keepdim=True)
    x = x / _get(cache, ref.scale)
    gain = ref.role.gain(module)
    return x if gain is None else x * gain


def _get(cache: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in cache:
        raise MissingSite(f"contributions need {name!r}, which this cache does not hold; cache it too")
    return cache[name]


def _step(model, cache, step: Add, terms: dict[str, Tensor], strip: int) -> dict[str, Tensor]:
    """Carry `terms` through one step and add what it writes. Names lose their first `strip` characters."""
    terms = {name: step.carried(cache, value) for name, value in terms.items()}
    for name in step.writes:
        terms[name[strip:].replace("hook_", "")] = _get(cache, name)
    if step.norm is None:
        return terms
    terms = {name: norm_linear(model, step.norm, cache, value) for name, value in terms.items()}
    shift = step.norm.role.shift(model.module.get_submodule(step.norm.path))
    if shift is not None:
        some = next(iter(terms.values()))
        terms[CONSTANTS] = terms.get(CONSTANTS, torch.zeros_like(some)) + shift
    return terms


def _require_equation(model, block: Block) -> None:
    if not block.steps:
        raise RequiresResidualStream(f"{model.name} declares no equation for {block.prefix}, so what it adds to a "
                                     "stream is unknown")


def contributions(model, cache, depth: int | None = None, stream: str | None = None) -> dict[str, Tensor]:
    """Named additive terms of one block, or of the whole model carried to the final stream.

    Shapes: every value [batch, pos, d_model] (a position embedding may have batch 1). In order of writing.
    With `depth`: the block's own terms, without what it received. Without: the sum is the last `hook_resid_post`.
    Raises MissingSite for a cache that lacks a term, RequiresResidualStream for a model without a single stream.
    """
    if depth is not None:
        block = block_at(model, depth, stream)
        _require_equation(model, block)
        terms: dict[str, Tensor] = {}
        for step in block.steps:
            terms = _step(model, cache, step, terms, len(block.prefix) + 1)
        return terms
    blocks = [b for b in model.map.blocks.values() if stream is None or b.prefix.startswith(stream)]
    for block in blocks:
        _require_equation(model, block)
    streams = {b.prefix.split("blocks")[0] for b in blocks}
    if len(streams) != 1 or any(not b.continues for b in blocks[1:]):
        raise RequiresResidualStream(
            f"{model.name} has no single residual stream from its embeddings to its end "
            + (f"(streams: {', '.join(sorted(streams))}; name one)" if len(streams) > 1 else
               "(a stage starts a stream of its own); ask for one depth at a time")
        )
    terms = {}
    if model.map.stem is not None and model.map.stem.to == blocks[0].resid_pre:
        terms = _step(model, cache, model.map.stem, terms, 0)
    else:
        terms["embed"] = _get(cache, blocks[0].resid_pre)
    for block in blocks:
        for step in block.steps:
            terms = _step(model, cache, step, terms, 0)
    return terms


def carry(model, cache, depth: int, x: Tensor, stream: str | None = None) -> Tensor:
    """What the block at `depth` makes of its input `x` [batch, pos, d_model] by its stream alone: a linear map."""
    block = block_at(model, depth, stream)
    _require_equation(model, block)
    for step in block.steps:
        x = step.carried(cache, x)
        x = x if step.norm is None else norm_linear(model, step.norm, cache, x)
    return x


def mixing_matrix(model, cache, depth: int, stream: str | None = None) -> Tensor:
    """How positions were mixed at `depth`: the pattern, or the operator the mixer stands for.

    Shape [batch, head or channel, query, key]. Raises RequiresPattern for a block that mixes nothing.
    """
    block = block_at(model, depth, stream)
    if block.mixing is not None:  # first: the patterns of windows are not of the whole image
        return block.mixing(model.module.get_submodule(block.path), cache, block.prefix)
    pattern = f"{block.prefix}.attn.hook_pattern"
    if pattern not in model.map.sites:
        raise RequiresPattern(f"{block.prefix} of {model.name} has no attention pattern and declares no mixing matrix")
    return _get(cache, pattern)
