"""What `skip_effects` gives back: effects of skips on later blocks and on the output, as tables and figure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth.figures import matrix_figure
from interp.results.estimate import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, eq=False)
class SkipEffects:
    """Effects of leaving out what `skipped` names, on every block in `measured` and on the output.

    `largest` and `mean` [skipped, measured, batch]: over the measured tokens of a prompt; 0 where a block runs before
    the skipped one. `output_largest`, `output_mean` [skipped, batch] in `output_unit`. `forwards` is what was run, in
    forwards of all blocks; `clusters` what is resampled.
    """

    model: str
    mode: str
    skipped: list[str]
    measured: list[str]
    largest: Tensor
    mean: Tensor
    output_largest: Tensor
    output_mean: Tensor
    output_unit: str
    forwards: float
    clusters: Any = None

    def matrix(self, reduce: Literal["max", "mean"] = "max") -> np.ndarray:
        """[skipped, measured]: the paper's maximum over tokens and prompts, or the mean over both."""
        return (self.largest.amax(-1) if reduce == "max" else self.mean.mean(-1)).numpy()

    def on_output(self, reduce: Literal["max", "mean"] = "mean", seed: int = 0) -> list[Estimate]:
        """Effect on the output of every skip: the mean over prompts of its mean (or maximum) over tokens."""
        rows = self.output_mean if reduce == "mean" else self.output_largest
        return [bootstrap_mean(row.double(), self.clusters, unit=_unit(self.clusters), seed=seed) for row in rows]

    def strength(self) -> Tensor:
        """[skipped, batch]: mean effect of a skip on the blocks behind it, 0 for the last; a depth score weighs it."""
        later = torch.tensor([[other > own for other in range(len(self.measured))] for own in self._places()])
        return (self.mean * later[..., None]).sum(1) / later.sum(1).clamp(min=1)[:, None]

    def _places(self) -> list[int]:
        return [next(i for i, m in enumerate(self.measured) if name == m or name.startswith(f"{m}."))
                for name in self.skipped]

    def frame(self) -> pd.DataFrame:
        """One row a skipped and a measured block: the mean with its interval, and the maximum."""
        rows = []
        for i, name in enumerate(self.skipped):
            for j in range(self._places()[i], len(self.measured)):
                e = bootstrap_mean(self.mean[i, j].double(), self.clusters, unit=_unit(self.clusters), draws=500)
                rows.append({"skipped": name, "measured": self.measured[j], "mean": e.value, "low": e.low,
                             "high": e.high, "max": float(self.largest[i, j].max())})
        return pd.DataFrame(rows)

    def output_frame(self) -> pd.DataFrame:
        """One row a skip: its effect on the output, mean with interval and maximum, and on the blocks behind it."""
        found, later = self.on_output(), self.strength().mean(1)
        return pd.DataFrame({"skipped": self.skipped, "on_output": [e.value for e in found],
                             "low": [e.low for e in found], "high": [e.high for e in found],
                             "max": self.output_largest.amax(1).numpy(), "on_later_blocks": later.numpy()})

    def figure(self, reduce: Literal["max", "mean"] = "mean") -> "go.Figure":
        """The matrix, skipped blocks down and measured blocks across; colours end at 1."""
        short = [name.replace("hook_", "").replace("blocks.", "") for name in self.skipped]
        return matrix_figure(
            self.matrix(reduce), x=[name.replace("blocks.", "") for name in self.measured], y=short, largest=1.0,
            title=f"{self.model}: effect of skipping, {self.mode} ({reduce} over tokens)", unit="relative change",
            x_title="measured block", y_title="skipped",
        )

    def save(self, run) -> None:
        """Tables and figure into a run directory, under `skip_MODE`."""
        run.save_views(f"skip_{self.mode}", self)
        run.save_table(f"skip_{self.mode}_output", self.output_frame())


def _unit(clusters: Any) -> str:
    return "prompts" if clusters is None else "clusters"
