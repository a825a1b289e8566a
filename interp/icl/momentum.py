"""Filters of queries and keys as Bode plots: what momentum, smeared keys, short convolutions and token shift let
through (Momentum attention, paper 199).

    H(w) = sum_j g_j exp(-i w j),  g the answer of the filter to a single token;  momentum: |H| = |1 + g - g exp(-i w)|

The filter itself is asked, with the weights that it has: it gets one token among zeros, and what comes out is its
impulse response, channel by channel. Frequencies are in radians a token, from 0 (constant) to pi (alternating).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import HookedModel
from interp.hooks.contributions import block_at
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.results import plots
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import plotly.graph_objects as go

PARTS = ("query", "key", "input")
_TOKENS = 64


@dataclass(frozen=True, eq=False)
class Bode:
    """`response[part]` [head, frequency], complex, of the filters at one depth: "query" and "key", each head the mean
    over its channels, or "input" for a shift of all projections (one row)."""

    model: str
    depth: int
    omega: np.ndarray
    response: dict[str, np.ndarray]

    def frame(self) -> pd.DataFrame:
        """One row a part, head and frequency: gain, gain in decibels, phase in radians."""
        rows = []
        for part, table in self.response.items():
            for head, row in enumerate(table):
                gain = np.abs(row)
                rows += [{"part": part, "head": head, "omega": w, "gain": g, "decibels": 20 * np.log10(max(g, 1e-12)),
                          "phase": p} for w, g, p in zip(self.omega, gain, np.angle(row))]
        return pd.DataFrame(rows)

    def lines(self) -> dict[str, np.ndarray]:
        """Responses by name, each that differs from the others once; heads that share one are named together."""
        found: list[tuple[list[str], np.ndarray]] = []
        for part, table in self.response.items():
            for head, row in enumerate(table):
                name = f"{part} {head}" if len(table) > 1 else part
                same = next((names for names, other in found if np.allclose(other, row, atol=1e-6)), None)
                if same is None:
                    found.append(([name], row))
                else:
                    same.append(name)
        return {", ".join(names): row for names, row in found}

    def figure(self) -> "go.Figure":
        """Gain and phase against frequency, a line for every filter that differs."""
        from plotly.subplots import make_subplots

        figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.06)
        for i, (name, row) in enumerate(self.lines().items()):
            line = {"color": plots.LINES[i % len(plots.LINES)], "dash": plots.DASHES[i % len(plots.DASHES)]}
            for place, values in ((1, 20 * np.log10(np.abs(row).clip(1e-6))), (2, np.angle(row))):
                figure.add_scatter(x=self.omega / np.pi, y=values, name=name, legendgroup=name, showlegend=place == 1,
                                   line=line, mode="lines", row=place, col=1)
        plots.styled(figure, title=f"{self.model}, depth {self.depth}: what the filter lets through")
        figure.update_yaxes(title_text="gain (dB)", row=1)
        figure.update_yaxes(title_text="phase (rad)", row=2)
        figure.update_xaxes(title_text="frequency (pi radians a token)", row=2)
        return figure.update_layout(height=480, margin_b=76, legend={"orientation": "h", "y": 1.12})

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views(f"bode_{self.depth}", self)


@torch.no_grad()
def bode(model: HookedModel, depth: int, frequencies: int = 65) -> Bode:
    """The frequency response of the filters of the attention at a depth.

    Raises BadInput for an attention that has none.
    """
    block = block_at(model, depth)
    found = [m for m in model.module.get_submodule(block.path).modules() if isinstance(m, Attention)]
    filters = [(m, m.filter, m.shift) for m in found if m.filter is not None or m.shift is not None]
    if not filters:
        raise BadInput(f"the attention of {model.name} at depth {depth} filters neither queries nor keys; that of "
                       "momentum, smeared-keys, short-conv-keys and token-shift in the catalog does")
    attention, own, shift = filters[0]
    omega = torch.linspace(0, torch.pi, frequencies, dtype=torch.float64)
    response = {}
    if own is not None:
        response |= dict(zip(("query", "key"), _answers(attention, own)))
    if shift is not None:
        width = attention.q.in_features
        impulse = torch.zeros(1, _TOKENS, width)
        impulse[:, 1] = 1
        response["input"] = shift(impulse, Context(torch.zeros(1, _TOKENS, dtype=torch.long)))[0, 1:].mean(-1)[None]
    return Bode(model.name, depth, omega.numpy(), {part: _spectrum(g, omega) for part, g in response.items()})


def _answers(attention: Attention, own: nn.Module) -> tuple[Tensor, Tensor]:
    """What becomes of a query and of a key of ones at token 1, [head, lag]; the first token has none before it."""
    q, k = (torch.zeros(1, heads, _TOKENS, attention.d_head) for heads in (attention.n_heads, attention.n_kv_heads))
    q[:, :, 1], k[:, :, 1] = 1, 1
    context = Context(torch.zeros(1, _TOKENS, dtype=torch.long))
    return tuple(x[0, :, 1:].mean(-1) for x in own(q, k, context))


def _spectrum(g: Float[Tensor, "head lag"], omega: Float[Tensor, " frequency"]) -> np.ndarray:
    turns = torch.exp(-1j * omega[:, None] * torch.arange(g.shape[1]))
    return (g.to(turns.dtype) @ turns.T).numpy()
