"""The gated block of GTrXL (Parisotto et al. 2019, 1910.06764, section 3): a GRU in place of the residual addition.

    y = relu(branch(ln(x)))                                                     x, y [batch, pos, d_model]
    r = sigmoid(y W_r + x U_r);  z = sigmoid(y W_z + x U_z - b_z);  h = tanh(y W_h + (r * x) U_h)
    x' = (1 - z) * x + z * h

Norms stand on what branches read only, so nothing norms the stream between its ends. With a large b_z the block is
the identity; 2 is the paper's start. Surprises: what a branch adds is z * h, to a stream of which 1 - z is kept, so a
branch of zero still writes; and h lies in (-1, 1), so that gates bound the stream.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts import norms
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.mlp import Mlp
from interp.parts.positions import Rotary
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]


class GruGate(nn.Module):
    """A branch y met with the stream x; `start` is the bias towards the identity. Marks reset, update and write."""

    def __init__(self, d_model: int, start: float = 2.0):
        super().__init__()
        self.start = start
        self.of_branch = nn.Linear(d_model, 3 * d_model, bias=False)  # reset, update, candidate
        self.of_stream = nn.Linear(d_model, 2 * d_model, bias=False)
        self.of_reset = nn.Linear(d_model, d_model, bias=False)
        self.keep = nn.Parameter(torch.full((d_model,), start))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """The bias at its start; nothing is drawn."""
        self.keep.fill_(self.start)

    def forward(self, x: Stream, y: Stream) -> Stream:
        reset, update, candidate = self.of_branch(y).chunk(3, -1)
        stream_reset, stream_update = self.of_stream(x).chunk(2, -1)
        reset = mark(self, "reset", torch.sigmoid(reset + stream_reset))
        update = mark(self, "update", torch.sigmoid(update + stream_update - self.keep))
        candidate = torch.tanh(candidate + self.of_reset(reset * x))
        return (1 - update) * x + mark(self, "write", update * candidate)

    def declare(self, d, path: str, write: str) -> None:
        """Its gates, and what the branch comes to write as the site `write`."""
        d.site(f"{path}.hook_reset", path, "reset")
        d.site(f"{path}.hook_update", path, "update")
        d.site(write, path, "write")

    def equations(self, name: str, x: str, y: str, out: str, to: str) -> list[tuple[str, str]]:
        """How `y` meets the stream `x`: (equation, sites)."""
        return [
            (f"r = sigmoid({y} W_r + {x} U_r)", f"{name}.hook_reset"),
            (f"z = sigmoid({y} W_z + {x} U_z - b_z)", f"{name}.hook_update"),
            (f"{out} = z * tanh({y} W_h + (r * {x}) U_h)", f"hook_{out}"),
            (f"{to} = x = (1 - z) * {x} + {out}", f"hook_{to}"),
        ]


@dataclass(frozen=True)
class Kept:
    """What a gate keeps of the stream, as a step of an equation: 1 minus the update at that site."""

    update: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The gate's site."""
        return (self.update,)

    def __call__(self, cache: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return (1 - cache[self.update]) * x


class Segments(nn.Module):
    """Transformer-XL's memory (Dai et al. 2019, 1901.02860) as a mask: a query sees its own segment and the one before.

    Recurrence over segments with the hidden states of the last one as memory is this mask on the whole sequence.
    """

    def __init__(self, length: int):
        super().__init__()
        self.length = length

    @property
    def equation(self) -> str:
        return f", key in the query's segment of {self.length} or the one before"

    def forward(self, place: Tensor, dtype: torch.dtype) -> Tensor:
        """0 where a query may look, else very negative: [batch, 1, query, key]."""
        segment = place // self.length
        far = segment[:, :, None] - segment[:, None, :] > 1
        lowest = torch.finfo(dtype).min / 2  # another mask may be added
        return torch.where(far, lowest, torch.zeros((), dtype=dtype))[:, None]


class GruBlock(nn.Module):
    """Attention with memory, then an MLP, each behind a norm, a ReLU and a gate. Positions are rotary, where the paper
    has Transformer-XL's relative ones: both make the score a function of the distance."""

    def __init__(self, spec: Spec, segment: int = 8):
        super().__init__()
        self.ln1, self.ln2 = spec.norm(spec.d_model), spec.norm(spec.d_model)
        self.attn = Attention(spec.d_model, spec.n_heads, spec.n_kv_heads, rotary=Rotary(), alibi=Segments(segment))
        self.mlp = Mlp.of(spec, act=nn.ReLU)
        self.attn_gate, self.mlp_gate = GruGate(spec.d_model), GruGate(spec.d_model)

    def forward(self, x: Stream, context: Context) -> Stream:
        x = self.attn_gate(x, torch.relu(self.attn(self.ln1(x), context)))
        return self.mlp_gate(x, torch.relu(self.mlp(self.ln2(x))))

    def declare(self, d) -> None:
        """Its sites; of the stream it keeps what its gates leave."""
        d.resid_pre()
        d.norm("ln1", "ln1", norms.role(self.ln1))
        self.attn.declare(d, "attn")
        self.attn_gate.declare(d, "attn_gate", "hook_attn_out")
        d.site("hook_resid_mid", "attn_gate")
        d.norm("ln2", "ln2", norms.role(self.ln2))
        self.mlp.declare(d, "mlp")
        self.mlp_gate.declare(d, "mlp_gate", "hook_mlp_out")
        d.site("hook_resid_post", "")
        keep = [Kept(d.name(f"{branch}_gate.hook_update")) for branch in ("attn", "mlp")]
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", keep=keep[0]),
               d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", keep=keep[1]))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            ("u = ln1(resid_pre)", "ln1.hook_scale|hook_normalized"),
            *self.attn.equations("u", "w"),
            *self.attn_gate.equations("attn_gate", "resid_pre", "relu(w)", "attn_out", "resid_mid"),
            ("u = ln2(resid_mid)", "ln2.hook_scale|hook_normalized"),
            *self.mlp.equations("u", "w"),
            *self.mlp_gate.equations("mlp_gate", "resid_mid", "relu(w)", "mlp_out", "resid_post"),
        ]
