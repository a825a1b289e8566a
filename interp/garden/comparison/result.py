"""`Comparison`: architectures side by side, with intervals over seeds, as tables, figures and a report."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.garden.comparison.measure import COLUMNS, Measured
from interp.results import plots
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.report import Section

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained model. `curve` is {rate: loss on the rows that choose} of its architecture, `source` "garden" or
    "trained"."""

    architecture: str
    layers: int
    seed: int
    rate: float
    curve: dict[float, float]
    parameters: int
    sizes: dict[str, int | None]
    metrics: dict[str, Any]
    measured: Measured
    source: str


@dataclass(frozen=True)
class Comparison:
    """Models of several architectures on one task. `score` names the metric, better when `lower` where that is so;
    `chance` is what knowing the possible answers gives."""

    task: str
    score: str
    lower: bool
    chance: float | None
    rows: tuple[Row, ...]

    @property
    def architectures(self) -> list[str]:
        """In the order in which they were asked for."""
        return list(dict.fromkeys(row.architecture for row in self.rows))

    def of(self, architecture: str) -> list[Row]:
        """Its models, a seed each."""
        return [row for row in self.rows if row.architecture == architecture]

    def estimate(self, architecture: str, column: str) -> Estimate | None:
        """The mean over seeds of the score or of a measured number, seeds resampled; None where no seed has it."""
        values = [value for row in self.of(architecture) if (value := self._value(row, column)) is not None]
        return bootstrap_mean(np.array(values), unit="seeds") if values else None

    def _value(self, row: Row, column: str) -> float | None:
        return float(row.metrics[self.score]) if column == self.score else row.measured.numbers.get(column)

    def frame(self) -> pd.DataFrame:
        """One row an architecture: sizes, tuned rate, the score and all that was measured as means over seeds, with the
        interval of the score (none for one seed)."""
        rows = []
        for name in self.architectures:
            first, score = self.of(name)[0], self.estimate(name, self.score)
            rows.append({
                "architecture": name, "layers": first.layers, "d_model": first.sizes["d_model"],
                "parameters": first.parameters, "rate": first.rate, "seeds": len(self.of(name)),
                self.score: score.value,
                "low": score.low if math.isfinite(score.low) else np.nan,
                "high": score.high if math.isfinite(score.high) else np.nan,
                **{column: np.nan if (e := self.estimate(name, column)) is None else e.value for column in COLUMNS},
                "mixing": first.measured.notes.get("prefix_matching", "").partition(", ")[2],
                "circuit": first.measured.notes.get("circuit", ""),
            })
        frame = pd.DataFrame(rows)
        frame.attrs |= {"task": self.task, "units": COLUMNS}
        return frame

    def models(self) -> pd.DataFrame:
        """One row a model: every number of every seed, circuit members, and why something is absent."""
        return pd.DataFrame([
            {"architecture": row.architecture, "seed": row.seed, "source": row.source,
             self.score: row.metrics[self.score],
             **{column: row.measured.numbers.get(column, np.nan) for column in COLUMNS}, **row.measured.notes,
             "absent": "; ".join(f"{part}: {why}" for part, why in row.measured.absent.items())}
            for row in self.rows])

    def rates(self) -> pd.DataFrame:
        """The learning-rate grid: architecture, rate, select_loss (nats; empty where it diverged), chosen."""
        return pd.DataFrame([
            {"architecture": name, "rate": rate, "select_loss": loss if math.isfinite(loss) else np.nan,
             "chosen": rate == self.of(name)[0].rate}
            for name in self.architectures for rate, loss in self.of(name)[0].curve.items()])

    def figure(self) -> "go.Figure":
        """The score of every architecture with its interval over seeds, and a line at chance."""
        found = {name: e for name in self.architectures if (e := self.estimate(name, self.score))}
        score = self.score.replace("_", " ")
        figure = plots.forest(found, title=f"{self.task}: {score} on held-out rows, mean over seeds",
                              x_title=score + (" (lower is better)" if self.lower else ""))
        if self.chance is not None:
            figure.add_vline(x=self.chance, line={"color": plots.GREY, "width": 1, "dash": "dot"},
                             annotation_text="chance", annotation_position="top")
        return figure

    def panels(self) -> "go.Figure":
        """Six panels: heads, circuit, state against context, and depth curves, all of them side by side."""
        from interp.garden.comparison.figures import comparison_panels

        return comparison_panels(self)

    def rate_figure(self) -> "go.Figure":
        """The loss by which rates were chosen against the rate, one curve an architecture."""
        from interp.garden.comparison.figures import rate_panels

        return rate_panels(self)

    def save(self, run: Any) -> None:
        """Tables and figures into a run."""
        run.save_views("comparison", self)
        run.save_table("models", self.models())
        run.save_table("rates", self.rates())
        run.save_figure("side_by_side", self.panels())
        run.save_figure("rates", self.rate_figure())

    def sections(self) -> list[Section]:
        """Sections for `run.save_report`."""
        seeds = len({row.seed for row in self.rows})
        about = (f"Held-out rows, {seeds} seed{'s' if seeds > 1 else ''} each; intervals are over seeds (95 % "
                 "bootstrap), none for one seed. Parameters are matched, every learning rate is tuned on seed 0.")
        meaning = pd.DataFrame([{"column": column, "what": what} for column, what in COLUMNS.items()])
        return [
            Section("Scores", about, self.frame()[["architecture", "layers", "d_model", "parameters", "rate", "seeds",
                                                   self.score, "low", "high"]], self.figure()),
            Section("Side by side", "Node counts are comparable among models of one granularity only; shares are not "
                    "bound to it. Head scores of mixers without a softmax pattern are shares of their mixing matrix.",
                    self.frame(), self.panels()),
            Section("Learning rates", "The loss of each rate on rows of their own, seed 0; where the best lay at an "
                    "end, one more rate beyond it was tried.", self.rates(), self.rate_figure()),
            Section("Every model", "One row a seed, with what could not be measured and why.", self.models()),
            Section("What the columns are", "", meaning),
        ]
