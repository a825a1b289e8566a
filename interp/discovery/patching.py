"""Patching by place: what a metric loses, or gets back, when one part at one position is taken from the other prompt.

    remove   metric(clean) - metric(clean, with the part at its value on the corrupt prompt)
    restore  metric(corrupt, with the part at its value on the clean prompt) - metric(corrupt)

Restoring finds what suffices in a prompt that is otherwise wrong, removing what is needed in one that is right: a part
that others back up shows in the first alone, parts that work only together in the second alone. Estimates by one
backward pass (attribution patching) are compared with the exact numbers by `agreement`. Surprise: the stream between
blocks holds all that a position knows, so its map follows the information, from the token that differs to the answer.

Paper: Heimersheim & Nanda 2024, "How to use and interpret activation patching", arXiv 2404.15255; Nanda 2023,
"Attribution patching".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.discovery.nodes import source
from interp.effects import effects
from interp.hooks import Counterfactual, HookedModel
from interp.results import Node, plots
from interp.results.errors import BadInput, RequiresResidualStream
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_statistic

if TYPE_CHECKING:
    import plotly.graph_objects as go

What = Literal["stream", "attn", "mlp", "heads"]
Direction = Literal["restore", "remove"]
_KINDS = {"attn": ("hook_attn_out", "hook_mixer_out"), "mlp": ("hook_mlp_out",)}


@dataclass(frozen=True, eq=False)
class PatchMap:
    """Effects of patching every part at every position, in `unit`.

    `values` [part, position, prompt], NaN where a cell was not asked for; `parts` are the rows as nodes without a
    position. `clean` and `corrupt` [prompt] are the metric on either side; `clusters` what is resampled.
    """

    model: str
    what: What
    direction: Direction
    rules: str
    parts: list[Node]
    values: Float[np.ndarray, "part position prompt"]
    clean: Float[np.ndarray, " prompt"]
    corrupt: Float[np.ndarray, " prompt"]
    unit: str
    clusters: Any = None

    @property
    def mean(self) -> Float[np.ndarray, "part position"]:
        """Over prompts."""
        return self.values.mean(-1)

    @property
    def gap(self) -> float:
        """Metric of the clean prompts minus that of the corrupt ones, mean: what there is to lose or get back."""
        return float((self.clean - self.corrupt).mean())

    def estimate(self, part: int, position: int) -> Estimate:
        """One cell, prompts resampled. Raises BadInput for a cell that was not measured."""
        found = self.values[part, position]
        if np.isnan(found).any():
            raise BadInput(f"{self.parts[part].label} at position {position} was not measured")
        return bootstrap_mean(found, self.clusters, unit="prompts", draws=1000)

    def frame(self) -> pd.DataFrame:
        """One row a measured cell: part, position, effect, its interval (of several prompts) and its share of `gap`."""
        rows, gap = [], self.gap
        for i, node in enumerate(self.parts):
            for p in np.flatnonzero(~np.isnan(self.values[i, :, 0])).tolist():
                e = self.estimate(i, p) if len(self.clean) > 1 else None
                value = float(self.values[i, p].mean())
                rows.append({"part": node.label, "site": node.site, "head": node.head, "position": p, "effect": value,
                             "low": e.low if e else np.nan, "high": e.high if e else np.nan,
                             "share": value / gap if gap else np.nan})
        frame = pd.DataFrame(rows).astype({"head": "Int64"})
        frame.attrs |= {"unit": self.unit, "rules": self.rules, "direction": self.direction, "prompts": len(self.clean)}
        return frame

    def figure(self) -> "go.Figure":
        """Parts by position, the last part on top."""
        return plots.heatmap(self.mean[::-1], [str(p) for p in range(self.values.shape[1])],
                             [node.label for node in self.parts][::-1], unit=self.unit, x_title="position",
                             title=f"{self.model}: {self.direction} {self.what}, {self.rules}")

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("patching", self)


def parts_of(model: HookedModel, what: What) -> list[Node]:
    """The rows of a map, in execution order: the stream before and behind every block, what its attention (or other
    mixer) or its MLP writes, or every head.

    Raises BadInput for another `what`, RequiresResidualStream where the model has nothing of the kind.
    """
    if what not in get_args(What):
        raise BadInput(f"{what!r} cannot be patched; choose among {', '.join(get_args(What))}")
    blocks, sites = list(model.map.blocks.values()), model.map.sites
    if what == "stream":
        first = next((block.resid_pre for block in blocks if block.resid_pre in sites), None)
        found = [Node(name) for name in [first, *(block.resid_post for block in blocks)] if name in sites]
    elif what == "heads":
        found = [Node(f"{block.prefix}.attn.hook_z", head) for block in blocks
                 if f"{block.prefix}.attn.hook_z" in sites
                 for head in range(model.site(f"{block.prefix}.attn.hook_z").heads or 0)]
    else:
        named = [f"{block.prefix}.{kind}" for block in blocks for kind in _KINDS[what]]
        found = [Node(name) for name in named if name in sites]
    if not found:
        names = {"stream": "stream between blocks", "attn": "attention or mixer", "mlp": "MLP", "heads": "heads"}
        raise RequiresResidualStream(f"{model.name} declares no {names[what]} whose value could be patched")
    return found


def patch_map(
    model: HookedModel, part, what: What = "stream", direction: Direction = "restore", rules: str = "ablation", *,
    parts: Sequence[Node] | None = None, cells: Sequence[tuple[int, int]] | None = None, rows: int | None = None,
) -> PatchMap:
    """The effect of patching every part at every position on the metric of one part of a task.

    `rules` is "ablation" (exact, one forward a cell) or a linear rule set such as "tangent" (one backward pass for
    all). `parts` are rows of your own, `cells` the (row, position) that are wanted, by default all. Of parts whose
    axis is shorter than others', what is not there stays NaN.
    Raises BadInput where prompts differ in length (their positions do not correspond), and as `effects`.
    """
    if direction not in get_args(Direction):
        raise BadInput(f"direction is {direction!r}; choose restore or remove")
    lengths = part.lengths
    if lengths.masked and len({int(n) for n in lengths.stop - lengths.first}) > 1:
        raise BadInput("these prompts differ in length, so that their positions do not correspond: patch one of them")
    nodes = list(parts) if parts is not None else parts_of(model, what)
    shapes = model.read(part.clean, list(dict.fromkeys(node.site for node in nodes)))
    there = [_positions(model, node, shapes[node.site]) for node in nodes]
    if lengths.masked:
        there = [min(count, int((lengths.stop - lengths.first)[0])) for count in there]
    wanted = [(r, p) for r, count in enumerate(there) for p in range(count)] if cells is None else list(cells)
    sources = [source(Node(nodes[r].site, nodes[r].head, p)) for r, p in wanted]
    sides = (part.corrupt, part.clean) if direction == "restore" else (part.clean, part.corrupt)
    done = effects(model, sides[0], sources, part.metric, rules, baseline=Counterfactual(sides[1]), rows=rows,
                   clusters=part.clusters)
    values = np.full((len(nodes), max(there), len(done.clean)), np.nan)
    for (r, p), row in zip(wanted, done.values.double().numpy()):
        values[r, p] = -row if direction == "restore" else row
    here, other = done.clean.double().numpy(), _measured(model, sides[1], part)
    clean, corrupt = (other, here) if direction == "restore" else (here, other)
    return PatchMap(model.name, what, direction, rules, nodes, values, clean, corrupt,
                    getattr(part.metric, "unit", ""), part.clusters)


def agreement(exact: PatchMap, estimated: PatchMap, seed: int = 0) -> tuple[Estimate | None, pd.DataFrame]:
    """(correlation of the two over the cells that both have, one row a cell: part, position, exact, estimate).

    Of cells' means over prompts; prompts are resampled, and of one prompt the interval is the value itself. None where
    fewer than three cells are there or one side does not vary.
    """
    both = ~np.isnan(exact.values[..., 0]) & ~np.isnan(estimated.values[..., 0])
    a, b = exact.values[both], estimated.values[both]  # [cell, prompt]
    frame = pd.DataFrame({"part": [exact.parts[i].label for i in np.nonzero(both)[0]],
                          "position": np.nonzero(both)[1], "exact": a.mean(-1), "estimate": b.mean(-1)})
    frame.attrs["unit"] = exact.unit
    if len(frame) < 3 or min(np.ptp(frame["exact"]), np.ptp(frame["estimate"])) < 1e-12:
        return None, frame

    def correlation(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.corrcoef(x.mean(0), y.mean(0))[0, 1])

    return bootstrap_statistic(correlation, [a.T, b.T], exact.clusters, unit="prompts", seed=seed, draws=500), frame


def agreement_figure(frame: pd.DataFrame, title: str = "") -> "go.Figure":
    """Estimates against exact effects, a point a cell; `frame` as of `agreement`."""
    import plotly.graph_objects as go

    figure, unit = go.Figure(), frame.attrs.get("unit", "")
    ends = [float(frame[["exact", "estimate"]].to_numpy().min()), float(frame[["exact", "estimate"]].to_numpy().max())]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"color": plots.GREY, "dash": "dot"}, hoverinfo="skip")
    words = [plots.label_text(f"{row.part} at {row.position}") for row in frame.itertuples()]
    figure.add_scatter(x=frame["exact"], y=frame["estimate"], mode="markers", hovertext=words,
                       marker={"color": plots.BLUE, "size": 7, "opacity": 0.7})
    plots.styled(figure, title=title, x_title=f"exact ({unit})", y_title=f"gradient estimate ({unit})")
    return figure.update_layout(showlegend=False)


def _positions(model: HookedModel, node: Node, value) -> int:
    axis = model.site(node.site).pos_axis
    if axis is None:
        raise BadInput(f"{node.site} of {model.name} has no positions to be patched one by one")
    return value.shape[axis]


def _measured(model: HookedModel, x, part) -> np.ndarray:
    """The metric on the other side."""
    import torch

    with torch.no_grad(), model.edit():
        return part.metric(model(x)).double().cpu().numpy()
