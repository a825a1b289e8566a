"""Three-phase transformer (2026, seed 193): a stream of N cyclic channels, each normed by itself and turned.

    PhaseNorm   y_i = x_i / sqrt(mean x_i^2 + eps) * w_i                  x, y [batch, pos, N * d_phase], i a channel
    Turn        (x_2j, x_2j+1) of channel i rotated by theta_j + 2 pi i / N,  theta [d_phase / 2] learned per block
    Horn        x += u / (place + 1), u = 1 / sqrt(d_model) in every coordinate: the direction that channels share

Every head belongs to one channel (the number of heads is a multiple of N). What u carries is called DC; what is left of
a stream without it, its channels, is orthogonal to u. Surprises: the rotation keeps the norm of the stream but not DC;
it is a map of the stream itself and no branch, so the equation of the block has a step that writes nothing; and N is no
optimum but a way to share parameters (theta is shared by the channels), the authors' own finding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import GatedMlp
from interp.parts.positions import Rotary
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]


class PhaseNorm(nn.Module):
    """RMSNorm of every channel alone. Its `scale` has a channel's number at each of its coordinates."""

    role = norms.OwnNorm(center=False)

    def __init__(self, d_model: int, n_phases: int, eps: float = 1e-6):
        super().__init__()
        self.n_phases, self.eps = n_phases, eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain 1; nothing is drawn."""
        self.weight.fill_(1.0)

    def forward(self, x: Stream) -> Stream:
        channels = x.unflatten(-1, (self.n_phases, -1))
        normed = semantic.norm(channels, None, None, eps=self.eps, center=False, mark=self._mark)
        return normed.flatten(-2) * self.weight

    def _mark(self, point: str, value: Tensor) -> Tensor:
        """A point of the norm offered along the stream's own axis."""
        width = self.weight.shape[0] // self.n_phases
        whole = value.expand(*value.shape[:-1], width).flatten(-2)
        return mark(self, point, whole).unflatten(-1, (self.n_phases, -1))

    def equation(self, name: str) -> str:
        """What it computes."""
        return f"{name}(x)_i = x_i / sqrt(mean x_i^2 + {self.eps:g}) * w_i, channels i = 0 .. {self.n_phases - 1}"


class Turn(nn.Module):
    """The rotation of a stream by learned angles, one step of 2 pi / N further in every channel."""

    def __init__(self, d_model: int, n_phases: int):
        super().__init__()
        self.n_phases = n_phases
        self.theta = nn.Parameter(torch.zeros(d_model // n_phases // 2))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Small angles."""
        self.theta.normal_(0.0, std, generator=generator)

    @property
    def angles(self) -> Float[Tensor, "phase pair"]:
        """The angle of every pair, in radians."""
        steps = torch.arange(self.n_phases, dtype=self.theta.dtype) * (2 * math.pi / self.n_phases)
        return self.theta + steps[:, None]

    def forward(self, x: Stream) -> Stream:
        first, second = x.unflatten(-1, (self.n_phases, -1, 2)).unbind(-1)
        cos, sin = self.angles.cos(), self.angles.sin()
        return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-3)



@dataclass(frozen=True)
class Turned:
    """The rotation as a step of an equation: it needs nothing of the run."""

    turn: Turn
    reads: tuple[str, ...] = ()

    def __call__(self, cache: Mapping[str, Tensor], x: Stream) -> Stream:
        return self.turn(x)


class Horn(nn.Module):
    """A fixed profile of the place on the direction that all coordinates share (Gabriel's horn, 1 / (place + 1))."""

    where = "stem"
    equation = "u / (place + 1), u = 1 / sqrt(d_model)"

    def __init__(self, n_ctx: int, d_model: int):
        super().__init__()
        self.d_model = d_model

    def forward(self, place: Int[Tensor, "batch pos"]) -> Stream:
        profile = 1 / (place[..., None].float() + 1)
        return (profile * self.d_model**-0.5).expand(*place.shape, self.d_model)


class PhaseBlock(nn.Module):
    """x += attn(norm x); x = turn(x); x += glu(norm x); queries and keys turned by rotary positions."""

    def __init__(self, spec: Spec, n_phases: int):
        super().__init__()
        self.ln1, self.ln2 = spec.norm(spec.d_model), spec.norm(spec.d_model)
        self.attn = Attention(spec.d_model, spec.n_heads, spec.n_kv_heads, bias=False, rotary=Rotary())
        self.turn = Turn(spec.d_model, n_phases)
        self.mlp = GatedMlp.of(spec)

    def forward(self, x: Stream, context: Context) -> Stream:
        x = mark(self, "mid", x + self.attn(self.ln1(x), context))
        x = self.turn(x)
        return x + self.mlp(self.ln2(x))

    def declare(self, d) -> None:
        """Its sites; the rotation is a step that keeps all and writes nothing."""
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        d.site("hook_attn_out", "attn")
        d.site("hook_resid_mid", "", "mid")
        d.site("hook_resid_turned", "turn")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        d.site("hook_mlp_out", "mlp")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid"),
               d.add("hook_resid_mid", (), "hook_resid_turned", keep=Turned(self.turn)),
               d.add("hook_resid_turned", ("hook_mlp_out",), "hook_resid_post"))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            ("u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized"),
            *self.attn.equations("u", "attn_out"),
            ("resid_mid = resid_pre + attn_out", "hook_attn_out, hook_resid_mid"),
            (f"resid_turned = R resid_mid, pair j of channel i by theta_j + 2 pi i / {self.turn.n_phases}",
             "hook_resid_turned"),
            ("u = ln2(resid_turned)", "ln2.hook_scale|hook_normalized"),
            *self.mlp.equations("u", "mlp_out"),
            ("resid_post = x = resid_turned + mlp_out", "hook_mlp_out, hook_resid_post"),
        ]
