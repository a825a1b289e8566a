"""The depth profile of a model: how long its stream is, what blocks and branches write, and when the answer is there.

Numbers are kept for every token, so that one pass answers for any type of token, as mean, median or maximum, with and
without the tokens that carry massive activations. Relative contributions are means of ratios, not ratios of means.

Paper: Csordas et al. 2025, "Do language models use their depth efficiently?", arXiv 2505.13898.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth.collect import BLOCK, STREAM, collect
from interp.depth.engine import BUDGET
from interp.depth.tokens import MASSIVE, Tokens, describe_tokens, massive, massive_frame
from interp.hooks import HookedModel
from interp.lens.logit import Lens, logit_lens
from interp.lens.stream import Positions
from interp.lens.tuned import TunedLens
from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate, bootstrap_mean

if TYPE_CHECKING:
    import plotly.graph_objects as go

Reduce = Literal["mean", "median", "max"]


@dataclass(frozen=True, eq=False)
class Profile:
    """What a model does at each depth of a stream.

    `values[part][measure]` [depth, batch, pos] as in `interp.depth.collect.Collected`; `tokens` says what stands where;
    `lens` (and `tuned`) how far each depth is from the answer, or None where they were not asked for. `clusters`
    [batch] is what is resampled, by default every prompt.
    """

    model: str
    values: dict[str, dict[str, Tensor]]
    tokens: Tokens
    lens: Lens | None = None
    tuned: Lens | None = None
    clusters: Any = None
    threshold: float = MASSIVE

    @property
    def n_layers(self) -> int:
        """Depths of the stream."""
        return len(self.values[BLOCK]["norm"])

    @property
    def parts(self) -> list[str]:
        """"stream", "block" and the kinds of branches."""
        return list(self.values)

    def massive(self) -> pd.DataFrame:
        """The tokens with massive activations, one row each (see `interp.depth.tokens.massive_frame`)."""
        return massive_frame(self.values[STREAM]["norm"], self.tokens, self.threshold)

    def select(self, token_type: str | None = None, masked: bool = False) -> Tensor:
        """Boolean [batch, pos]: real tokens of a type, with `masked` without the massive ones.

        Raises BadInput for a type that is not there, or where none is left.
        """
        if token_type is not None and token_type not in self.tokens.kinds:
            raise BadInput(f"there are no {token_type!r} tokens here.{nearest(token_type, self.tokens.kinds)} There "
                           f"are: {', '.join(self.tokens.kinds)}")
        chosen = self.tokens.of_type(token_type)
        if masked:
            chosen = chosen & ~massive(self.values[STREAM]["norm"], self.tokens, self.threshold)
        if not chosen.any():
            raise BadInput("no tokens are left: all that were asked for carry massive activations")
        return chosen

    def curve(self, part: str, measure: str, reduce: Reduce = "mean", *, token_type: str | None = None,
              masked: bool = False) -> np.ndarray:
        """One measure of one part by depth, [depth]; NaN where a depth has no such branch.

        Raises BadInput for a part or measure that is not there, and as `select`.
        """
        for name, table in ((part, self.values), (measure, self.values.get(part, {}))):
            if name not in table:
                raise BadInput(f"a profile of {self.model} has no {name!r}.{nearest(name, table)} There are: "
                               f"{', '.join(table)}")
        rows = self.values[part][measure][:, self.select(token_type, masked)]
        found = {"mean": rows.mean(1), "median": rows.median(1).values, "max": rows.amax(1)}
        if reduce not in found:
            raise BadInput(f"{reduce!r} is no reduction over tokens; there are mean, median and max")
        return found[reduce].numpy()

    def estimates(self, part: str, measure: str, *, token_type: str | None = None, masked: bool = False,
                  seed: int = 0) -> list[Estimate | None]:
        """The mean over tokens at every depth, prompts (or `clusters`) resampled; None where a depth has no such
        branch."""
        chosen = self.select(token_type, masked)
        prompt = np.broadcast_to(np.arange(len(chosen))[:, None], chosen.shape)[chosen.numpy()]
        groups = prompt if self.clusters is None else np.asarray(self.clusters)[prompt]
        rows = self.values[part][measure][:, chosen]
        return [None if row.isnan().any() else
                bootstrap_mean(row.double(), groups, unit="prompts" if self.clusters is None else "clusters", seed=seed,
                               draws=1000) for row in rows]

    def frame(self, token_types: bool = False, masked: bool = False) -> pd.DataFrame:
        """One row a depth, part and measure: mean with its interval, median and maximum over tokens.

        With `token_types` also a row for each of them; `masked` leaves massive tokens out.
        """
        rows = []
        for kind in [None, *(self.tokens.kinds if token_types else [])]:
            if masked and not (self.tokens.of_type(kind) & self.select(masked=True)).any():
                continue  # every token of this type is massive
            for part, table in self.values.items():
                for measure in table:
                    curves = {r: self.curve(part, measure, r, token_type=kind, masked=masked)
                              for r in ("median", "max")}
                    found = self.estimates(part, measure, token_type=kind, masked=masked)
                    rows += [{"depth": depth, "part": part, "measure": measure, "tokens": kind or "all",
                              "mean": e.value, "low": e.low, "high": e.high,
                              **{r: float(c[depth]) for r, c in curves.items()}}
                             for depth, e in enumerate(found) if e is not None]
        return pd.DataFrame(rows)

    def table(self, masked: bool = False) -> pd.DataFrame:
        """One row a depth, for reading: norm of the stream, relative contribution and cosine of every branch and of the
        block, and the lens behind it."""
        table = {"depth": range(self.n_layers), "stream norm": self.curve(STREAM, "norm", "median", masked=masked)[1:]}
        for part in self.parts[2:] if len(self.parts) > 3 else []:
            table[f"{part} / stream"] = self.curve(part, "relative", masked=masked)
            table[f"{part} cos"] = self.curve(part, "cosine", masked=masked)
        table["block / stream"] = self.curve(BLOCK, "relative", masked=masked)
        table["block cos"] = self.curve(BLOCK, "cosine", masked=masked)
        for lens in (self.lens, self.tuned):
            if lens is not None:
                table[f"{lens.kind} {lens.main}"] = lens.values[lens.main].flatten(1).mean(1)[1:].numpy()
        if self.lens is not None and "overlap" in self.lens.values:
            table["top-5 overlap"] = self.lens.values["overlap"].flatten(1).mean(1)[1:].numpy()
        return pd.DataFrame(table)

    def figure(self, masked: bool = False) -> "go.Figure":
        """Norms, relative contributions, cosines and the lens by depth, side by side."""
        from interp.depth.figures import profile_figure

        return profile_figure(self, masked)

    def save(self, run) -> None:
        """Tables (all tokens, by type, without massive ones, the massive ones) and figures into a run directory."""
        run.save_table("profile", self.frame(token_types=True))
        run.save_table("profile_masked", self.frame(masked=True))
        run.save_table("massive", self.massive())
        run.save_figure("profile", self.figure())
        run.save_figure("profile_masked", self.figure(masked=True))
        for lens in (self.lens, self.tuned):
            if lens is not None:
                lens.save(run)


def profile(
    model: HookedModel, x: Any, *, lens: Positions = 8, tuned: TunedLens | None = None, types: Any = None,
    clusters: Sequence | None = None, threshold: float = MASSIVE, budget: int = BUDGET,
) -> Profile:
    """The depth profile of `model` on `x`: one pass for everything about norms, and the lens at some positions.

    `lens` is where the head reads: a number of evenly spaced positions, a list of them, 0 for no lens. `tuned` is a
    tuned lens to show beside it. `types` [batch, pos] are labels of your own in place of token types. `threshold` is
    how many times the median norm makes a token massive. `budget` bounds the bytes of activations held at once.
    Raises RequiresResidualStream for a model without equations of a stream.
    """
    found = collect(model, x, budget)
    tokens = describe_tokens(model, x, found.real, types)
    read = [None, None]
    if not (isinstance(lens, int) and lens == 0):
        for i, through in enumerate((None, tuned)):
            if i == 0 or through is not None:
                read[i] = logit_lens(model, x, lens, through=through, clusters=clusters)
    return Profile(model.name, found.values, tokens, *read, clusters, threshold)


def half_depth(values: Any) -> float:
    """The depth, as a share from 0 to 1, by which half of a non-negative curve over depths is reached.

    0.5 for a flat curve. Raises BadInput for a curve that is nowhere positive.
    """
    curve = torch.as_tensor(values, dtype=torch.float64)
    if not (curve >= 0).all() or float(curve.sum()) <= 0:
        raise BadInput("half_depth needs a curve without negative values, somewhere above 0")
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), curve.cumsum(0)]) / curve.sum()
    i = int((sums < 0.5).sum())
    return float((i - 1 + (0.5 - sums[i - 1]) / (sums[i] - sums[i - 1])) / len(curve))
