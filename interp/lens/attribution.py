"""Direct logit attribution: how much of a metric each writer puts into the last stream itself.

    metric = sum over writers of <term carried to the last stream, g> + rest,    g the metric's gradient there

with the final norm's statistics held at this run. Exact where what follows the norm is linear (an unembedding); a head
with a nonlinearity has it held too, and `rest` is whatever is missing: biases, and there its offset. Surprise: what a
writer puts in is what it adds directly, not what the model would lose without it.

Paper: Elhage et al. 2021, "A mathematical framework for transformer circuits", section on logit attribution.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from interp.effects.linear_rules import FROZEN
from interp.effects.linearised import gradients
from interp.hooks import HookedModel
from interp.lens.stream import stream_blocks
from interp.results import plots
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.rows import numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Attribution:
    """`values` [writer, batch] in the metric's unit; with `rest` [batch] they sum to `metric` [batch]."""

    model: str
    writers: list[str]
    values: Tensor
    metric: Tensor
    unit: str = ""
    clusters: Any = None

    @property
    def rest(self) -> Tensor:
        """What no writer accounts for: biases of the head, [batch]."""
        return self.metric - self.values.sum(0)

    def estimates(self, seed: int = 0) -> list[Estimate]:
        """Mean of every writer over prompts."""
        return [bootstrap_mean(row, self.clusters, unit="prompts", seed=seed) for row in self.values]

    def frame(self) -> pd.DataFrame:
        """One row a writer, in order of writing, then the rest: mean and interval."""
        rest = bootstrap_mean(self.rest, self.clusters, unit="prompts")
        found = [*self.estimates(), rest]
        frame = pd.DataFrame({"writer": [*self.writers, "rest"], "attribution": [e.value for e in found],
                              "low": [e.low for e in found], "high": [e.high for e in found]})
        frame.attrs["unit"] = self.unit
        return frame

    def figure(self) -> "go.Figure":
        """Writers by what they add, in order of writing."""
        import plotly.graph_objects as go

        frame = self.frame()
        colours = [plots.BLUE if value >= 0 else plots.ORANGE for value in frame["attribution"]]
        bars = go.Bar(x=list(range(len(frame))), y=frame["attribution"], marker_color=colours, error_y={
            "array": (frame["high"] - frame["attribution"]).clip(upper=1e30),
            "arrayminus": (frame["attribution"] - frame["low"]).clip(upper=1e30), "color": plots.GREY, "thickness": 1})
        figure = plots.styled(go.Figure(bars), title=f"{self.model}: what each writer adds to the metric",
                              y_title=f"attribution ({self.unit or 'metric'})")
        names = [plots.label_text(writer) for writer in frame["writer"]]
        return figure.update_xaxes(**plots.ticks(names, most=48), tickangle=-60)

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("attribution", self)


def direct_attribution(model: HookedModel, x, metric, *, clusters: Any = None) -> Attribution:
    """What every writer of `model` adds directly to `metric(output) -> [batch]`, by one forward and one backward.

    Raises RequiresResidualStream for a model without one stream from its embeddings to its end, MissingSite as
    `contributions`.
    """
    last = stream_blocks(model)[-1]
    stream = last.prefix.split("blocks")[0].rstrip(".") or None
    value, _, grads = gradients(model, x, [last.resid_post], metric, FROZEN)
    terms = model.contributions(model.read(x, sorted(needed(model))), stream=stream)
    g = grads[last.resid_post]
    values = torch.stack([(term.expand_as(g) * g).flatten(1).sum(1) for term in terms.values()])
    return Attribution(model.name, list(terms), values.detach(), value, getattr(metric, "unit", ""),
                       None if clusters is None else numbers(clusters))


def needed(model: HookedModel) -> set[str]:
    """Every site that the equations of a model read: starts, writes, gates."""
    blocks = list(model.map.blocks.values())
    stem = model.map.stem
    steps = [step for block in blocks for step in block.steps] + ([stem] if stem else [])
    return {*model.map.writes, *model.map.gates, *(s for step in steps for s in step.writes), blocks[0].resid_pre,
            *(step.norm.scale for step in steps if step.norm)}
