"""Image models whose patches send where others fetch.

    dependency-vit   x += reversed attention(ln1 x);  x += mlp(ln2 x)      a class for the mean of all patches

`interp.parts.reversed_attention.dependency_tree` reads a tree of patches off what they send, `parts_of` cuts it.
"""

from dataclasses import replace

from interp.architectures.entry import Entry
from interp.architectures.gpt import ATTN, GPT
from interp.hooks.model import HookedModel
from interp.parts.patch_model import equations, hooked, images
from interp.parts.reversed_attention import ReversedAttention
from interp.parts.spec import SIZES

DEPENDENCY_VIT = replace(GPT, block=(replace(ATTN, op=ReversedAttention), GPT.block[1]), tied=(), d_vocab=10, n_ctx=16)

_SIZES = {size: getattr(DEPENDENCY_VIT, size) for size in SIZES if size != "n_kv_heads"}


def _make(*, seed: int, **given: int | None) -> HookedModel:
    recipe = {"source": "catalog", "name": "dependency-vit", "sizes": _SIZES | given}
    return hooked(replace(DEPENDENCY_VIT, **given), seed, name="dependency-vit", recipe=recipe)


MEMBERS: tuple[Entry, ...] = (
    Entry(name="dependency-vit", title="a ViT whose patches send to parents", family="reversed attention",
          kind="image classifier", make=_make, sizes=_SIZES, equations=equations, example=images, paper=115,
          citation="Ding et al. 2023, Visual dependency transformers, arXiv 2304.03282"),
)
