"""Image models whose tokens are patches, all of one size.

    vit   x += attn(ln1 x);  x += mlp(ln2 x)      every patch sees every patch; a class for the mean of all of them
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry
from interp.architectures.gpt import ATTN, GPT, MLP
from interp.hooks.model import HookedModel
from interp.parts.attention import Attention
from interp.parts.patch_model import equations, hooked, images
from interp.parts.spec import SIZES, Spec

VIT = replace(GPT, block=(replace(ATTN, op=partial(Attention.of, causal=False)), MLP), tied=(), d_vocab=10, n_ctx=16)


def of_patches(name: str, title: str, spec: Spec, **facts) -> Entry:
    """The entry of a spec that reads patches; keys and values are not grouped."""
    sizes = {size: getattr(spec, size) for size in SIZES if size != "n_kv_heads"}

    def make(*, seed: int, **given: int | None) -> HookedModel:
        recipe = {"source": "catalog", "name": name, "sizes": sizes | given}
        return hooked(replace(spec, **given), seed, name=name, recipe=recipe)

    return Entry(name=name, title=title, kind="vision", make=make, sizes=sizes, equations=equations,
                 example=images, **facts)


MEMBERS: tuple[Entry, ...] = (
    of_patches("vit", "GPT over image patches, both ways", VIT, family="vit",
               citation="Dosovitskiy et al. 2020, An image is worth 16x16 words, arXiv 2010.11929"),
)
