"""Loss by position: how much a model gains from what it has read (Olsson et al. 2022, arXiv 2209.11895).

    in-context score = loss at a late token - loss at an early one        negative: it learns in context
    induction loss   = loss on tokens seen before - loss on new ones      on repeated random tokens

Losses are in nats, of the token at a position given those before it; position 0 has none.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.repeats import Repeats
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import plotly.graph_objects as go

_AT_ONCE = 8


@torch.no_grad()
def token_losses(model: HookedModel, tokens: Int[Tensor, "row pos"]) -> Float[Tensor, "row pos"]:
    """Loss of every token given those before it, nats; NaN at position 0."""
    parts = []
    for some in tokens.split(_AT_ONCE):
        logits = model(some)[:, :-1].double()
        loss = -logits.log_softmax(-1).gather(-1, some[:, 1:, None])[..., 0]
        parts.append(torch.cat([torch.full_like(loss[:, :1], torch.nan), loss], 1))
    return torch.cat(parts)


@dataclass(frozen=True, eq=False)
class InContext:
    """`losses` [row, pos], nats, NaN where nothing is predicted; rows are resampled for intervals."""

    model: str
    losses: np.ndarray
    seed: int

    def score(self, late: int | slice, early: int | slice) -> Estimate:
        """Mean loss at `late` minus at `early` (positions, or slices of them); negative where context helps.

        Raises BadInput for a position that is not there or predicts nothing.
        """
        return bootstrap_mean(self._at(late) - self._at(early), seed=self.seed)

    def _at(self, where: int | slice) -> np.ndarray:
        some = self.losses[:, where if isinstance(where, slice) else slice(where, where + 1)]
        if not some.shape[1] or np.isnan(some).any():
            raise BadInput(f"{where} is no range of predicted positions; those are 1 to {self.losses.shape[1] - 1}")
        return some.mean(1)

    def frame(self) -> pd.DataFrame:
        """One row a position: mean loss with its interval over rows."""
        rows = []
        for pos in range(1, self.losses.shape[1]):
            e = bootstrap_mean(self.losses[:, pos], seed=self.seed, draws=500)
            rows.append({"position": pos, "loss": e.value, "low": e.low, "high": e.high})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "seed": self.seed, "units": {"loss": "nats"}}
        return frame

    def figure(self) -> "go.Figure":
        """Loss by position."""
        table = self.frame()
        return plots.curve_with_band(table["position"], table["loss"], table["low"], table["high"],
                                     title=f"{self.model}: loss by position", x_title="position", y_title="nats")

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("in_context", self)


def in_context(model: HookedModel, tokens: Int[Tensor, "row pos"], seed: int = 0) -> InContext:
    """The loss curve of a causal model on rows of tokens.

    Raises BadInput for a model that sees what it predicts, or rows of one token.
    """
    if not model.map.causal:
        raise BadInput(f"{model.name} is not causal: it sees the tokens that it would have to predict")
    if tokens.dim() != 2 or tokens.shape[1] < 2:
        raise BadInput(f"tokens have shape {list(tokens.shape)}; [row, pos] with two positions at least is needed")
    return InContext(model.name, token_losses(model, tokens).numpy(), seed)


def induction_loss(model: HookedModel, prompts: Repeats, seed: int = 0) -> Estimate:
    """Mean loss on tokens seen before minus on new ones, rows resampled; about -ln(vocabulary) for perfect copying.

    The token at the start of a repeat is left out: nothing in the prompt says that one begins.
    """
    losses = token_losses(model, prompts.tokens)
    before = torch.cat([torch.zeros_like(prompts.seen[:, :1]), prompts.seen[:, :-1]], 1) > 0
    known = ~losses.isnan()
    seen, new = known & (prompts.seen > 0) & before, known & (prompts.seen == 0)
    row = [torch.where(part, losses, 0).sum(1) / part.sum(1) for part in (seen, new)]
    return bootstrap_mean((row[0] - row[1]).numpy(), seed=seed)
