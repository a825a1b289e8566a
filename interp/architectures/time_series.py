"""Forecasters.

    itransformer   x = ln1(x + attn x);  x = ln2(x + mlp x)      a token is a whole series, attention is among series
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry
from interp.architectures.gpt import POST_NORM
from interp.hooks.model import HookedModel
from interp.parts.attention import Attention
from interp.parts.variate_model import equations, hooked, random_walks

_SIZES = dict(d_model=64, n_layers=2, n_heads=4, d_mlp=None, n_steps=16, horizon=4)
_ATTN, _MLP = POST_NORM.block
_ITRANSFORMER = replace(POST_NORM, block=(replace(_ATTN, op=partial(Attention.of, causal=False)), _MLP), position=None,
                        tied=())


def _make(*, seed: int, **given: int | None) -> HookedModel:
    sizes = _SIZES | given
    renamed = {"n_steps": "n_ctx", "horizon": "d_vocab"}
    spec = replace(_ITRANSFORMER, **{renamed.get(size, size): value for size, value in sizes.items()})
    return hooked(spec, seed, name="itransformer", recipe={"source": "catalog", "name": "itransformer", "sizes": sizes})


MEMBERS: tuple[Entry, ...] = (
    Entry(name="itransformer", title="Series as tokens, attention among variates", family="time series",
          kind="time series", make=_make, sizes=_SIZES, equations=equations, example=random_walks, paper=68,
          citation="Liu et al. 2023, iTransformer, arXiv 2310.06625"),
)
