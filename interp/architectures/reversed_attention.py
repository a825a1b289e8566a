"""Image models whose patches send where others fetch.

    dependency-vit   x += reversed attention(ln1 x);  x += mlp(ln2 x)      a class for the mean of all patches

`interp.parts.reversed_attention.dependency_tree` reads a tree of patches off what they send, `parts_of` cuts it.
"""

from dataclasses import replace

from interp.architectures.entry import Entry
from interp.architectures.gpt import ATTN, MLP
from interp.architectures.vit import VIT, of_patches
from interp.parts.reversed_attention import ReversedAttention

DEPENDENCY_VIT = replace(VIT, block=(replace(ATTN, op=ReversedAttention), MLP))

MEMBERS: tuple[Entry, ...] = (
    of_patches("dependency-vit", "a ViT whose patches send to parents", DEPENDENCY_VIT, family="reversed attention",
               paper=115, citation="Ding et al. 2023, Visual dependency transformers, arXiv 2304.03282"),
)
