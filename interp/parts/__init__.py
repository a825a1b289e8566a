"""The grammar of single-stream models: one ingredient a file, and the model that is made of them.

`Model = stem -> schedule(blocks) -> final norm -> head`,
`Block = [Sublayer(reads, norm_in, op, norm_out, gate, writes)]`.
"""

from interp.parts.attention import Attention
from interp.parts.block import Block, Sublayer
from interp.parts.mlp import GatedMlp, Mlp
from interp.parts.model import Model
from interp.parts.positions import Alibi, Learned, Rotary, Sinusoidal
from interp.parts.sitemap import hook
from interp.parts.spec import Spec

__all__ = ["Alibi", "Attention", "Block", "GatedMlp", "Learned", "Mlp", "Model", "Rotary", "Sinusoidal", "Spec",
           "Sublayer", "hook"]
