"""`Spec`: one single-stream model as a value. Variants are `dataclasses.replace` of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from interp.results.errors import BadInput

if TYPE_CHECKING:
    from interp.parts.block import Sublayer

Tie = Literal["blocks", "middle", "branches", "head"]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Sizes and structure of `stem -> blocks -> final norm -> head`.

    `n_layers` counts execution depths; with "blocks" in `tied` all of them are visits of one block, with "middle" all
    but the first and the last, with "branches" only what is no norm is shared; with "head" the unembedding is the
    embedding. `block` is the block as data, or what makes one from the spec (a module that declares its own sites and
    equations, see `interp.parts.block.OwnBlock`). `norm` makes every norm of the model from d_model (None: no norms),
    `position` is a class of `interp.parts.positions`, `embed_norm` norms the embeddings.
    Raises BadInput for sizes that do not fit together.
    """

    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_mlp: int | None = None
    d_vocab: int = 128
    n_ctx: int = 64
    block: "tuple[Sublayer, ...] | Callable[[Spec], nn.Module]"
    norm: Callable[[int], nn.Module] | None
    position: type[nn.Module] | None
    tied: tuple[Tie, ...] = ()
    embed_norm: bool = False

    def __post_init__(self) -> None:
        for name in SIZES:
            value = getattr(self, name)
            if name in ("n_kv_heads", "d_mlp") and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise BadInput(f"{name} is {value!r}; a whole number of at least 1 is needed")
        if "middle" in self.tied and self.n_layers < 3:
            raise BadInput(f"n_layers is {self.n_layers}; a first, a looped and a last block need 3 at least")
        if self.d_model % self.n_heads:
            raise BadInput(f"d_model {self.d_model} is no multiple of n_heads {self.n_heads}")
        if self.n_kv_heads and self.n_heads % self.n_kv_heads:
            raise BadInput(f"n_heads {self.n_heads} is no multiple of n_kv_heads {self.n_kv_heads}")
        if getattr(self.position, "where", "") == "queries" and (self.d_model // self.n_heads) % 2:
            raise BadInput(f"rotary positions need an even d_head, not {self.d_model // self.n_heads}")


SIZES = ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_mlp", "d_vocab", "n_ctx")
