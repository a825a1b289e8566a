"""Position-wise networks: the MLP (Vaswani et al. 2017, 1706.03762, section 3.3) and the gated one (Shazeer 2020,
2002.05202).

    mlp:    out = act(x W_up + b_up) W_down + b_down                       x, out [batch, pos, d_model]
    gated:  out = (act(x W_gate) * (x W_up)) W_down                        inside [batch, pos, d_mlp]

Surprise: at equal d_mlp the gated one has half as many parameters again, so that papers shrink it to 2/3.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from interp.parts.context import Context
from interp.parts.spec import Spec


class Mlp(nn.Module):
    """Two projections and a nonlinearity between them."""

    def __init__(self, d_model: int, d_mlp: int, *, act: Callable[[], nn.Module] = nn.GELU, bias: bool = True):
        super().__init__()
        self.up = nn.Linear(d_model, d_mlp, bias)
        self.act = act()
        self.down = nn.Linear(d_mlp, d_model, bias)

    @classmethod
    def of(cls, spec: Spec, **options) -> "Mlp":
        """The MLP of a spec; four times as wide as the stream where the spec does not say."""
        return cls(spec.d_model, spec.d_mlp or 4 * spec.d_model, **options)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.down(self.act(self.up(x)))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        d.mlp(pre=f"{path}.up", act=f"{path}.act", out=f"{path}.down",
              elementwise=getattr(self.act, "elementwise", True))

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        b = self.up.bias is not None
        return [
            (f"pre = {x} W_up{' + b_up' if b else ''}", "mlp.hook_pre"),
            (f"post = {type(self.act).__name__}(pre)", "mlp.hook_post"),
            (f"{y} = post W_down{' + b_down' if b else ''}", ""),
        ]


class GatedMlp(nn.Module):
    """Two projections multiplied, one of them through a nonlinearity, and one back."""

    def __init__(self, d_model: int, d_mlp: int, *, act: Callable[[], nn.Module] = nn.SiLU, bias: bool = False):
        super().__init__()
        self.gate = nn.Linear(d_model, d_mlp, bias)
        self.up = nn.Linear(d_model, d_mlp, bias)
        self.act = act()
        self.down = nn.Linear(d_mlp, d_model, bias)

    of = classmethod(Mlp.of.__func__)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.down(self.act(self.gate(x)) * self.up(x))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        d.mlp(pre=f"{path}.gate", linear=f"{path}.up", act=f"{path}.act", out=f"{path}.down")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"pre, linear = {x} W_gate, {x} W_up", "mlp.hook_pre, mlp.hook_pre_linear"),
            (f"post = {type(self.act).__name__}(pre) * linear", "mlp.hook_post"),
            (f"{y} = post W_down", ""),
        ]
