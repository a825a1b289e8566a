"""Image classifiers in stages, whose places see some of the others; patterns are of the whole image.

    dinat   x += attn(ln1 x);  x += mlp(ln2 x)      the k x k nearest; every second block the nearest at a dilation
    rmt     x += conv x;  x += attn(ln1 x);  x += conv-mlp(ln2 x)       all, fading with distance; early: along axes
    cswin   x += attn(ln1 x);  x += mlp(ln2 x)      half of the heads see a stripe of rows, half one of columns
    biformer   x += conv x;  x += attn(ln1 x);  x += mlp(ln2 x)         regions that the query's region chooses
    crossformer   x += attn(ln1 x);  x += mlp(ln2 x)                    squares, and in every second block combs

Every member is a choice of who sees whom (`interp.parts.grid_attention`) in the same two stages of
`interp.parts.pyramid`.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from interp.architectures.entry import Entry
from interp.architectures.staged import staged
from interp.parts.bi_level import Routed
from interp.parts.block import Sublayer
from interp.parts.conv_mlp import ConvMlp
from interp.parts.cross_scale import CrossScale, Groups
from interp.parts.grid_attention import GridAttention, LocalConv
from interp.parts.manhattan import AxialDecay, Manhattan
from interp.parts.mlp import Mlp
from interp.parts.neighbourhood import Neighbourhood
from interp.parts.pyramid import Blocks
from interp.parts.stripes import StripeConv, Stripes

_MLP = Sublayer(name="mlp", op=Mlp.of, norm_in="ln2", reads="resid_mid")


_LOCAL = Sublayer(name="local", op=LocalConv.of, writes="resid_local")


def _attn(**options) -> Sublayer:
    """Attention on the grid behind a norm; `places` of n_heads, `local` of d_model."""
    return Sublayer(name="attn", op=partial(GridAttention.of, **options), norm_in="ln1", writes="resid_mid")


def _dinat(neighbours: int, dilation: int) -> Blocks:
    def blocks(stage: int, index: int) -> tuple[Sublayer, ...]:
        apart = max(dilation // 2**stage, 1) if index % 2 else 1
        return _attn(places=partial(Neighbourhood, size=neighbours, dilation=apart)), _MLP

    return blocks


def _two_convolutions(patch: int, d_model: int) -> nn.Module:
    """Two overlapping convolutions in the place of patches of 4."""
    return nn.Sequential(nn.Conv2d(3, d_model // 2, 3, stride=patch // 2, padding=1),
                         nn.Conv2d(d_model // 2, d_model, 3, stride=2, padding=1))


def _rmt() -> Blocks:
    local = replace(_attn(places=Manhattan, local=partial(LocalConv, size=5)), reads="resid_local")
    axial = replace(local, name="mixer", op=AxialDecay)
    mlp = replace(_MLP, op=ConvMlp)
    return lambda stage, index: (_LOCAL, local if stage else axial, mlp)


def _cswin(width: int) -> Blocks:
    def blocks(stage: int, index: int) -> tuple[Sublayer, ...]:
        wide = {"width": width * 2**stage}
        return _attn(places=partial(Stripes, **wide), local=partial(StripeConv, **wide)), _MLP

    return blocks


def _overlapping(patch: int, d_model: int) -> nn.Module:
    """Patches that overlap by half."""
    return nn.Conv2d(3, d_model, 2 * patch - 1, stride=patch, padding=patch // 2)


def _biformer(regions: int, top: int) -> Blocks:
    attn = _attn(places=partial(Routed, regions=regions, top=top), local=partial(LocalConv, size=5))
    return lambda stage, index: (_LOCAL, replace(attn, reads="resid_local"), _MLP)


def _crossformer(group: int, interval: int) -> Blocks:
    short, far = (_attn(places=partial(Groups, size=size, far=far))
                  for size, far in ((group, False), (interval, True)))
    return lambda stage, index: (far if index % 2 else short, _MLP)


def _four_scales(patch: int, d_model: int) -> nn.Module:
    return CrossScale(3, d_model, tuple(patch * 2**i for i in range(4)), patch)


def _two_scales(d_in: int, d_out: int) -> nn.Module:
    return CrossScale(d_in, d_out, (2, 4), 2)


_member = partial(staged, family="window attention")

MEMBERS: tuple[Entry, ...] = (
    _member("dinat", "Attention to the nearest places, at a dilation in every second block",
            _dinat, dict(neighbours=3, dilation=2), stem=_two_convolutions, paper=104,
            citation="Hassani & Shi 2022, Dilated neighborhood attention transformer, arXiv 2209.15001"),
    _member("rmt", "Attention that fades with the Manhattan distance", _rmt, paper=82,
            citation="Fan et al. 2023, RMT: Retentive networks meet vision transformers, arXiv 2309.11523"),
    _member("cswin", "Attention in stripes, rows for half of the heads and columns for the others", _cswin,
            dict(width=2), stem=_overlapping, paper=70,
            citation="Dong et al. 2021, CSWin transformer, arXiv 2107.00652"),
    _member("biformer", "Attention to the regions that a region chooses", _biformer, dict(regions=4, top=4), paper=30,
            citation="Zhu et al. 2023, BiFormer: vision transformer with bi-level routing, arXiv 2303.08810"),
    _member("crossformer", "Attention in squares and combs, embeddings of several scales", _crossformer,
            dict(group=2, interval=2), stem=_four_scales, merge=_two_scales, paper=181,
            citation="Wang et al. 2021, CrossFormer, arXiv 2108.00154"),
)
