"""Which blocks carry the stream that the output is read from, and which positions of it are real."""

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.hooks import HookedModel
from interp.hooks.sitemap import Block
from interp.results.errors import BadInput, RequiresResidualStream

Positions = int | Sequence[int] | Tensor | None


def stream_blocks(model: HookedModel) -> list[Block]:
    """The blocks of the last uninterrupted stream, in execution order: of an encoder-decoder the decoder's, of a model
    with stages the last stage's, otherwise all.

    Raises RequiresResidualStream for a model that declares no equations.
    """
    blocks = list(model.map.blocks.values())
    if not blocks or not all(block.steps for block in blocks):
        raise RequiresResidualStream(f"{model.name} declares no equation of a residual stream, so there is nothing to "
                                     "follow through its depth")
    stream = _stream(blocks[-1])
    own = [block for block in blocks if _stream(block) == stream]
    start = max((i for i, block in enumerate(own) if i and not block.continues), default=0)
    return own[start:]


def points(model: HookedModel) -> list[str]:
    """The stream between blocks: the first `hook_resid_pre`, then every `hook_resid_post`."""
    blocks = stream_blocks(model)
    return [blocks[0].resid_pre, *(block.resid_post for block in blocks)]


def _stream(block: Block) -> str:
    return block.prefix.split("blocks")[0]


def real_tokens(model: HookedModel, x, value: Tensor) -> Tensor:
    """Boolean [batch, pos]: which positions of a stream `value` hold tokens rather than padding."""
    site = model.site(points(model)[0])
    lengths = model.lengths(x).along(site, value)
    place = torch.arange(value.shape[1])[None]
    return (place >= lengths.first[:, None]) & (place < lengths.stop[:, None])


def chosen(real: Tensor, positions: Positions) -> Tensor:
    """[batch, n] absolute positions: `n` of them evenly spaced over each row's real tokens, the last one among them;
    or those given, counted from the first real token (negative ones from the last); all, for None.

    Raises BadInput where a row has fewer tokens, and for None where rows differ in length.
    """
    count, first = real.sum(1), real.int().argmax(1)
    if positions is None or isinstance(positions, int):
        n = int(count.max()) if positions is None else min(positions, int(count.min()))
        if n < 1 or (positions is None and int(count.min()) < n):
            raise BadInput(f"rows have {int(count.min())} to {int(count.max())} tokens: give a number of positions "
                           "that all of them have")
        place = (torch.arange(1, n + 1)[None] * count[:, None]) // n - 1
        return first[:, None] + place
    at = torch.as_tensor(positions).reshape(1, -1).expand(len(real), -1) if torch.as_tensor(positions).dim() < 2 \
        else torch.as_tensor(positions)
    at = torch.where(at < 0, count[:, None] + at, at)
    if (at < 0).any() or (at >= count[:, None]).any():
        raise BadInput(f"positions {positions} are not all there: rows have {int(count.min())} to {int(count.max())} "
                       "tokens")
    return first[:, None] + at
