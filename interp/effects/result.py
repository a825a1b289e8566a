"""`Effects`: one number per source and prompt, with what was asked and how it was computed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from interp.effects.rules import RuleSet
from interp.hooks import Source
from interp.results import plots
from interp.results.estimate import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of sources on a scalar metric: clean minus intervened.

    `values` [source, batch] and `clean` [batch], in `unit`; `groups[i]` is what row i removed. `cost` counts
    rows run through the model (a plain forward of the batch is `batch` rows).
    """

    values: Tensor
    clean: Tensor
    groups: list[tuple[Source, ...]]
    rules: RuleSet
    baseline: str
    unit: str = ""
    clusters: Any = None
    cost: dict[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        return [" + ".join(s.label for s in group) for group in self.groups]

    @property
    def mean(self) -> Tensor:
        """Mean effect of every source, [source]."""
        return self.values.mean(1)

    def estimates(self, seed: int = 0) -> list[Estimate]:
        """Mean effect of every source with its cluster-bootstrap interval."""
        return [bootstrap_mean(row, self.clusters, seed=seed) for row in self.values.numpy()]

    def frame(self) -> pd.DataFrame:
        """One row a source: site, head, pos, mean effect, its interval, the largest effect on one prompt."""
        estimates = self.estimates()
        first = [group[0] for group in self.groups]
        frame = pd.DataFrame(
            {
                "source": self.labels,
                "site": [s.site for s in first],
                "head": pd.array([s.head for s in first], dtype="Int64"),
                "effect": [e.value for e in estimates],
                "low": [e.low for e in estimates],
                "high": [e.high for e in estimates],
                "largest": self.values.abs().amax(1).numpy(),
            }
        )
        frame.attrs |= {"unit": self.unit, "rules": self.rules.name, "baseline": self.baseline}
        return frame

    def figure(self) -> "go.Figure":
        """Sources by mean effect, with intervals; at most the 40 largest."""
        import plotly.graph_objects as go

        frame = self.frame()
        frame = frame.iloc[np.argsort(-frame["effect"].abs().to_numpy())[:40]]
        bars = go.Bar(
            x=frame["source"], y=frame["effect"], marker_color=plots.BLUE,
            error_y=dict(array=frame["high"] - frame["effect"], arrayminus=frame["effect"] - frame["low"]),
        )
        figure = go.Figure(bars)
        figure.update_layout(
            template="plotly_white", yaxis_title=f"effect ({self.unit})" if self.unit else "effect",
            title=f"{self.rules.name} effects, baseline {self.baseline}",
        )
        return figure

    def save(self, run) -> None:
        """Tables, tensors and figure into a run directory."""
        run.save_views("effects", self)
        run.save_tensors({"values": self.values.numpy(), "clean": self.clean.numpy()})
