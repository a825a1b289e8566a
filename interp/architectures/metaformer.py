"""MetaFormer: one block, any mixer.

    x += s1 * mixer(ln1 x);  x += s2 * mlp(ln2 x)        norms over whole images, two stages

    metaformer-pooling    the mean of the neighbours; with its weights, PoolFormer of transformers
    metaformer-identity   nothing is mixed by the mixer
    metaformer-attention  every place sees every other
"""

from dataclasses import replace

from torch import nn

from interp.architectures.entry import Entry
from interp.architectures.staged import staged
from interp.parts.attention import Attention
from interp.parts.block import Sublayer
from interp.parts.gates import LayerScale
from interp.parts.group_norm import GroupNorm
from interp.parts.mlp import Mlp
from interp.parts.pooling import identity, pooling
from interp.parts.pyramid import Blocks
from interp.parts.spec import Spec

_MIXER = Sublayer(name="mixer", op=pooling, norm_in="ln1", gate=LayerScale, writes="resid_mid")
_MLP = Sublayer(name="mlp", op=Mlp.of, norm_in="ln2", gate=LayerScale, reads="resid_mid")


def _attention(spec: Spec) -> Attention:
    return Attention(spec.d_model, spec.n_heads, causal=False)


MIXERS: dict[str, Sublayer] = {
    "pooling": _MIXER,
    "identity": replace(_MIXER, op=identity),
    "attention": replace(_MIXER, name="attn", op=_attention),
}


def _overlapping(patch: int, d_model: int) -> nn.Module:
    """Patches that overlap."""
    return nn.Conv2d(3, d_model, 2 * patch - 1, stride=patch, padding=patch // 2)


def _with(mixer: str) -> Entry:
    def blocks() -> Blocks:
        return lambda stage, index: (MIXERS[mixer], _MLP)

    return staged(f"metaformer-{mixer}", f"The block of PoolFormer with {mixer} as its mixer", blocks, norm=GroupNorm,
                  embed_norm=False, stem=_overlapping, family="pooling", paper=73,
                  citation="Yu et al. 2022, MetaFormer is actually what you need for vision, arXiv 2111.11418")


MEMBERS: tuple[Entry, ...] = tuple(_with(mixer) for mixer in MIXERS)
