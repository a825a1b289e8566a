"""The logit lens: what a model would answer if it stopped here.

    p_l = softmax(head(stream_l));    KL(p_l || p_L) = sum p_l (log p_l - log p_L)         nats
    overlap_k = |top_k(p_l) and top_k(p_L)| / k

A model whose output is features has no distribution: there, the cosine and the relative distance of its output to the
one at the last depth. Surprises: an early stream is not written in the last one's coordinates, so a high KL need not
mean that nothing is known (the tuned lens corrects what is affine of that); and in a post-norm model every stream was
just normed.

Paper: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from interp.hooks import HookedModel
from interp.lens.head import Head
from interp.lens.stream import Positions, chosen, points, real_tokens
from interp.results import plots
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.lens.tuned import TunedLens

UNITS = {"kl": "nats", "overlap": "fraction", "agrees": "fraction", "cosine": "cosine",
         "distance": "fraction of the output's norm"}


@dataclass(frozen=True, eq=False)
class Lens:
    """What every site says through the head, against the last depth.

    `values[measure]` is [site, batch, position] in `UNITS[measure]`: kl, overlap, agrees (same first choice);
    or cosine and distance for features. `top` [site, batch, position, k] are the first choices (empty for features);
    `positions` [batch, position] where it was read; `kind` is "logit lens" or "tuned lens".
    """

    model: str
    sites: list[str]
    values: dict[str, Tensor]
    top: Tensor
    positions: Tensor
    kind: str = "logit lens"
    clusters: Any = None

    @property
    def main(self) -> str:
        """The measure that is 0 at the last depth."""
        return "kl" if "kl" in self.values else "distance"

    def estimates(self, measure: str, seed: int = 0) -> list[Estimate]:
        """Mean over positions and prompts of every site, prompts resampled."""
        return [bootstrap_mean(row.mean(1), self.clusters, unit="prompts", seed=seed) for row in self.values[measure]]

    def frame(self) -> pd.DataFrame:
        """One row a site: the mean of every measure, and of the main one its interval and median."""
        main = self.estimates(self.main)
        columns = {measure: value.flatten(1).mean(1).numpy() for measure, value in self.values.items()}
        frame = pd.DataFrame({"site": self.sites, "depth": range(len(self.sites)), **columns})
        frame["low"], frame["high"] = ([getattr(e, side) for e in main] for side in ("low", "high"))
        frame["median"] = self.values[self.main].flatten(1).median(1).values.numpy()
        frame.attrs["units"] = {measure: UNITS[measure] for measure in self.values}
        return frame

    def figure(self, *others: "Lens") -> "go.Figure":
        """The main measure by depth with its interval, this lens' and others'."""
        figure = None
        for lens in (self, *others):
            frame = lens.frame()
            figure = plots.curve_with_band(
                frame["depth"], frame[self.main], frame["low"], frame["high"], name=lens.kind, figure=figure,
                title=f"{self.model}: how far each depth is from the answer", x_title="blocks passed",
                y_title={"kl": "KL to the answer (nats)"}.get(self.main, "relative distance to the output"),
            )
        return figure.update_layout(showlegend=bool(others))

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views(self.kind.replace(" ", "_"), self)


def logit_lens(
    model: HookedModel, x, positions: Positions = None, sites: Sequence[str] | None = None, *, k: int = 5,
    through: "TunedLens | None" = None, clusters: Any = None,
) -> Lens:
    """Every depth of `model` on `x` read through its own head, against what it says at the end.

    `positions` is a number of evenly spaced ones, a list, or None for all; `sites` are streams (`hook_resid_mid` too),
    by default the points between blocks. `through` is a tuned lens, applied before the head. Costs a forward and,
    per site, a head at the chosen positions.
    Raises RequiresResidualStream for a model or a site without a stream of the last one's width.
    """
    names = [site.name for site in model.sites(list(sites))] if sites else points(model)
    first = points(model)[0]
    real = real_tokens(model, x, model.read(x, first)[first])  # a forward that ends before the first block
    head = Head(model, x, at := chosen(real, positions), names)
    for name in names:
        head.require_fit(name, head.kept[name])
    with torch.no_grad():
        final = head(head.stream)  # by the same path as the others, so that the last depth is at exactly 0
        measure = _Against(final, k) if head.is_distribution else _Features(final)
        streams = ((name, head.kept[name]) for name in progress(names, "reading depths"))
        found = [measure(head(value if through is None else through(name, value))) for name, value in streams]
    values = {key: torch.stack([row[key] for row in found]) for key in found[0] if key != "top"}
    top = torch.stack([row["top"] for row in found]) if "top" in found[0] else torch.zeros(0, dtype=torch.long)
    return Lens(model.name, names, values, top, at, "logit lens" if through is None else "tuned lens", clusters)


class _Against:
    """Measures of a distribution against a final one. Logits of -inf are a very small probability."""

    def __init__(self, final: Tensor, k: int):
        self.log, self.k = _logs(final), min(k, final.shape[-1])
        self.top = final.topk(self.k, -1).indices

    def __call__(self, logits: Tensor) -> dict[str, Tensor]:
        top = logits.topk(self.k, -1).indices
        shared = (top[..., :, None] == self.top[..., None, :]).any(-1).float().mean(-1)
        kl = F.kl_div(self.log, _logs(logits), reduction="none", log_target=True).sum(-1)
        return {"kl": kl, "overlap": shared, "agrees": (top[..., 0] == self.top[..., 0]).float(), "top": top}


def _logs(logits: Tensor) -> Tensor:
    return logits.float().log_softmax(-1).clamp(min=-1e30)


class _Features:
    """Measures of features against the final ones."""

    def __init__(self, final: Tensor):
        self.final = final.float()

    def __call__(self, output: Tensor) -> dict[str, Tensor]:
        output = output.float()
        return {"cosine": F.cosine_similarity(output, self.final, dim=-1),
                "distance": (output - self.final).norm(dim=-1) / self.final.norm(dim=-1).clamp(min=1e-6)}
