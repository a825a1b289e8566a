"""A block as a list of sublayers. Where norms stand, what reads what and what is scaled is data, not code.

    y = gate * norm_out(op(norm_in(points[reads])));   x = norm_sum(x + y);   points[writes] = x
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from interp.parts.context import Context
from interp.parts.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Sublayer:
    """One branch. `name` is its word in site names; `op` makes it from the spec; `reads` and `writes` are points of
    the stream (`writes=None`: the sum so far has no name, as between parallel branches). The norms are named as their
    sites: `norm_in` before the branch, `norm_out` behind it, `norm_sum` on the stream behind the addition.
    """

    name: Literal["attn", "mlp", "mixer", "local"]
    op: Callable[[Spec], nn.Module]
    reads: str = "resid_pre"
    norm_in: str | None = None
    norm_out: str | None = None
    gate: Callable[[int], nn.Module] | None = None
    norm_sum: str | None = None
    writes: str | None = "resid_post"

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of its norms."""
        return tuple(n for n in (self.norm_in, self.norm_out, self.norm_sum) if n)

    @property
    def last(self) -> str:
        """Name of the module whose output is what the branch adds to the stream."""
        return f"{self.name}_gate" if self.gate else self.norm_out or self.name


@runtime_checkable
class OwnBlock(Protocol):
    """A block that is no list of sublayers: called as one, and it says itself what its sites and equations are."""

    def __call__(self, x: Tensor, context: Context) -> Tensor: ...
    def declare(self, d) -> None: ...  # d: `interp.adapters.declare.Declare`, at this block and visit; ends in d.done
    def equations(self) -> list[tuple[str, str]]: ...


class Block(nn.Module):
    """One execution depth, or several where it is tied. Its modules are called as their sites are."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.sublayers = spec.block
        for sub in spec.block:
            self.add_module(sub.name, sub.op(spec))
            for norm in sub.norms:
                self.add_module(norm, spec.norm(spec.d_model))
            if sub.gate:
                self.add_module(sub.last, sub.gate(spec.d_model))

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context
    ) -> Float[Tensor, "batch pos d_model"]:
        points = {"resid_pre": x}
        for sub in self.sublayers:
            y = self._through(sub.norm_in, points[sub.reads])
            y = self._modules[sub.name](y, context)
            y = self._through(sub.norm_out, y)
            y = self._through(sub.gate and sub.last, y)
            x = self._through(sub.norm_sum, x + y)
            points[sub.writes] = x
        return x

    def _through(self, name: str | None, x: Tensor) -> Tensor:
        return self._modules[name](x) if name else x
