"""Where methods disagree about a node, and why: both directions, the tangent, a small change, the direct path.

Six numbers per node in one unit. Their pattern names the reason: a softmax or norm that saturates, paths that cancel,
other nodes that repair a removal, or a node that works only together with others. Prompts are drawn anew to see how
often the pattern stays.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.nodes import source
from interp.effects import effects
from interp.hooks import Counterfactual, HookedModel
from interp.results import Node, plots
from interp.results.estimate import bootstrap_mean
from interp.results.rows import cluster_numbers, resampled_sums
from interp.tasks.audit import measure
from interp.tasks.behaviour import check_done

if TYPE_CHECKING:
    import plotly.graph_objects as go

QUARTER = 0.25
FACTOR = 2.0  # numbers that differ by less are taken to agree
DRAWS = 500
FLOOR = 0.05  # of the largest effect: differences below it are not spoken of
NOTHING = "nothing to explain"
REASONS = {
    "agree": "the numbers agree within a factor of two",
    "repair": "restoring it matters far more than removing it: others stand in for it (OR, backups)",
    "joint": "removing it matters far more than restoring it: it works only with others (AND)",
    "saturation": "the gradient says far less than the whole change does: a softmax, norm or activation is saturated",
    "overshoot": "the gradient says far more than the whole change does: the response levels off on the way",
    "cancellation": "its direct path and its way through others have opposite signs",
    NOTHING: "neither removing nor restoring it has an effect that these prompts tell from 0",
}


@dataclass(frozen=True, eq=False)
class Disagreement:
    """`table`: one row a node with its effects and the reason, largest disagreement first; in `unit`, the metric's.

    `support` is the share of bootstrap resamples of the prompts (whole clusters) in which the reason is the same: below
    0.95, other prompts may well tell otherwise; NaN for one cluster and where there is nothing to explain. `low` and
    `high` are the 95 % interval of `removing`.
    """

    table: pd.DataFrame
    unit: str
    forwards: float

    def frame(self) -> pd.DataFrame:
        """node, removing, low, high, restoring, tangent, relp, small_change, direct, reason, support, why."""
        return self.table

    def figure(self) -> "go.Figure":
        """Tangent against the exact effect of removing, a colour and a symbol for each reason."""
        import plotly.graph_objects as go

        figure = go.Figure()
        symbols = ("circle", "diamond", "square", "x", "triangle-up", "cross", "circle-open")
        colours = (plots.GREY, *plots.LINES[:5], plots.GREY)
        for (reason, why), colour, symbol in zip(REASONS.items(), colours, symbols, strict=True):
            rows = self.table[self.table["reason"] == reason]
            if len(rows):
                figure.add_scatter(
                    x=rows["removing"], y=rows["tangent"], mode="markers", name=reason,
                    marker={"color": colour, "symbol": symbol, "size": 8},
                    hovertext=[plots.label_text(f"{n}: {why}") for n in rows["node"]],
                )
        ends = [float(self.table[["removing", "tangent"]].to_numpy().min()),
                float(self.table[["removing", "tangent"]].to_numpy().max())]
        figure.add_scatter(x=ends, y=ends, mode="lines", name="equal", line={"color": plots.GREY, "dash": "dot"})
        return plots.styled(
            figure, title="Where methods disagree", x_title=f"removing, exact ({self.unit})",
            y_title=f"tangent ({self.unit})",
        )

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("disagreement", self)


def disagreement(
    model: HookedModel, part, universe: Sequence[Node] | None = None, *, rows: int | None = None
) -> Disagreement:
    """Six effects of every node on one part of a task, and the reason where they disagree.

    `removing` and `restoring` are exact, in the two directions. `tangent` and `relp` are linear. `small_change` is four
    times the exact effect of a quarter of the node's change: what the response is near the clean run. `direct` is what
    reaches the output through no other component. All in the metric's unit, means over the prompts.
    A node whose exact effects both have an interval that contains 0 has nothing to explain.
    Raises BadInput where the model does not do the task, which one prompt alone cannot tell.
    """
    if len(set(cluster_numbers(part.clusters, len(part)))) > 1:
        check_done(model.name, part, *(measure(part, model, x)[0] for x in (part.clean, part.corrupt)))
    universe = list(universe or all_nodes(model))
    sources = [source(node) for node in universe]
    clean = model.read(part.clean, list(dict.fromkeys(node.site for node in universe)))
    corrupt = model.read(part.corrupt, list(clean))
    near = {site: clean[site] + QUARTER * (corrupt[site] - clean[site]) for site in clean}
    forwards, rows_of = 0.0, {}
    asked = {
        "removing": ("ablation", part.clean, Counterfactual(part.corrupt), 1.0),
        "restoring": ("ablation", part.corrupt, Counterfactual(part.clean), -1.0),
        "tangent": ("tangent", part.clean, Counterfactual(part.corrupt), 1.0),
        "relp": ("relp", part.clean, Counterfactual(part.corrupt), 1.0),
        "small_change": ("ablation", part.clean, near, 1 / QUARTER),
        "direct": ("direct", part.clean, Counterfactual(part.corrupt), 1.0),
    }
    for name, (rules, x, baseline, factor) in asked.items():
        found = effects(model, x, sources, part.metric, rules, baseline=baseline, rows=rows)
        rows_of[name] = factor * found.values.double().numpy()  # [node, prompt]
        forwards += found.cost["forwards"]
    columns = {name: values.mean(1) for name, values in rows_of.items()}
    off, on = ([bootstrap_mean(row, part.clusters) for row in rows_of[name]] for name in ("removing", "restoring"))
    removing = {"removing": columns["removing"], "low": [i.low for i in off], "high": [i.high for i in off]}
    table = pd.DataFrame({"node": [node.label for node in universe]} | removing | columns)
    table["reason"] = reasons(columns)
    table["support"] = _support(rows_of, part.clusters, table["reason"].to_numpy())
    idle = [not (a.excludes(0) or b.excludes(0)) and a.n > 1 for a, b in zip(off, on, strict=True)]
    table.loc[idle, ["reason", "support"]] = NOTHING, np.nan
    table["why"] = table["reason"].map(REASONS)
    spread = table[["removing", "restoring", "tangent", "small_change"]]
    order = np.argsort(-(spread.max(axis=1) - spread.min(axis=1)).to_numpy(), kind="stable")
    return Disagreement(table.iloc[order].reset_index(drop=True), getattr(part.metric, "unit", ""), forwards)


def reasons(columns: Mapping[str, Float[np.ndarray, "... node"]]) -> Shaped[np.ndarray, "... node"]:
    """The first of `REASONS` that the six numbers of each node show, the most telling first; "agree" where none does.

    Differences below a twentieth of the largest exact effect of any node are not spoken of.
    """
    off, on, tangent, direct = (np.asarray(columns[k]) for k in ("removing", "restoring", "tangent", "direct"))
    floor = FLOOR * np.maximum(abs(off), abs(on)).max(-1, keepdims=True)
    shown = {
        "repair": _larger(on, off, floor), "joint": _larger(off, on, floor),
        "saturation": _larger(off, tangent, floor), "overshoot": _larger(tangent, off, floor),
        "cancellation": (direct * (off - direct) < 0) & _larger(direct, off, floor),
    }
    return np.select(list(shown.values()), list(shown), "agree")


def _support(
    values: Mapping[str, Float[np.ndarray, "node prompt"]], clusters: Sequence[Hashable], found: np.ndarray
) -> Float[np.ndarray, " node"]:
    """In what share of resamples of the clusters each node shows the reason that it was found to show."""
    groups = cluster_numbers(clusters, next(iter(values.values())).shape[1])
    if not groups.any():
        return np.full(len(found), np.nan)
    member = np.eye(groups.max() + 1)[groups]
    sums = np.concatenate([value @ member for value in values.values()] + [member.sum(0)[None]])
    drawn = resampled_sums(sums, 0, DRAWS)
    means = np.split(drawn[:, :-1] / drawn[:, -1:], len(values), axis=1)  # a mean [draw, node] for each number
    return (reasons(dict(zip(values, means, strict=True))) == found).mean(0)


def _larger(a: np.ndarray, b: np.ndarray, floor: np.ndarray) -> np.ndarray:
    """Where `a` is larger in size than `b` by the factor, and by more than the floor; another sign counts as zero."""
    b = np.where(a * b > 0, abs(b), 0.0)
    return (abs(a) > FACTOR * b) & (abs(a) - b > floor)
