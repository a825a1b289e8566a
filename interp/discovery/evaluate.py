"""`evaluate`: a circuit on prompts that neither its scores nor its size have seen."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.discovery import checks
from interp.discovery.controls import matched_circuits, same_size_circuits
from interp.discovery.curve import check_cut, faithfulness, faithfulness_curve, mib_integrals
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.nodes import nodes as all_nodes
from interp.discovery.overlap import DEPTH, SIZE
from interp.discovery.runs import Circuits, Cut
from interp.discovery.truth import against_truth
from interp.hooks import HookedModel
from interp.results import BadInput, Circuit, Estimate, bootstrap_mean

if TYPE_CHECKING:
    import plotly.graph_objects as go

LEADING = 8


@dataclass(frozen=True, eq=False)
class Control:
    """Distinct random circuits of one kind: their faithfulness, and p, the share of them (with the circuit itself) that
    is as near to 1. With few circuits of that kind in existence p cannot be small."""

    kind: str
    faithfulness: np.ndarray
    p: float

    def __str__(self) -> str:
        values = self.faithfulness
        if not len(values):
            return f"there are no other circuits of the {self.kind}"
        return (f"{len(values)} other random circuits of the {self.kind}: median faithfulness {np.median(values):.3g}, "
                f"as near to 1 as the circuit: p = {self.p:.3g}")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Held-out evidence for a circuit. Metric values in `unit`; tables as their functions in `checks` describe."""

    circuit: Circuit
    unit: str
    full: Estimate
    empty: Estimate
    faithfulness: Estimate
    necessity: Estimate
    curve: pd.DataFrame
    controls: tuple[Control, ...]
    completeness: dict
    integrals: dict
    directions: pd.DataFrame
    grouped: pd.DataFrame
    pairs: pd.DataFrame
    minimal: pd.DataFrame
    truth: dict = field(default_factory=dict)
    cost: dict = field(default_factory=dict)
    ledger: dict = field(default_factory=dict)

    def frame(self) -> pd.DataFrame:
        """One row a statistic: name, value, low, high, note."""
        rows: list[dict[str, Any]] = [
            {"statistic": name, "value": e.value, "low": e.low, "high": e.high, "note": note}
            for name, e, note in (
                ("metric, whole model", self.full, self.unit),
                ("metric, nothing but the rest", self.empty, "every node at its counterfactual"),
                ("faithfulness", self.faithfulness, "1: the circuit alone does what the model does"),
                ("necessity", self.necessity, "share of the behaviour that removing the circuit takes away"),
            )
        ]
        for control in self.controls:
            values = control.faithfulness
            low, middle, high = np.quantile(values, [0.025, 0.5, 0.975]) if len(values) else [np.nan] * 3
            rows.append({"statistic": f"faithfulness of random circuits, {control.kind}", "value": middle, "low": low,
                         "high": high, "note": str(control)})
        rows.append({"statistic": "completeness gap, largest", "value": self.completeness["largest"],
                     "low": np.nan, "high": np.nan, "note": f"mean {self.completeness['mean']:.3g}; "
                     f"worst K: {', '.join(self.completeness['worst'][:6]) or 'none'}"})
        rows += [{"statistic": k, "value": v, "low": np.nan, "high": np.nan, "note": "MIB grid"}
                 for k, v in self.integrals.items()]
        rows += [{"statistic": k, "value": v, "low": np.nan, "high": np.nan, "note": "against the known truth"}
                 for k, v in self.truth.items()]
        return pd.DataFrame(rows)

    def figure(self) -> "go.Figure":
        """Faithfulness against size on held-out prompts, the chosen size and the random circuits marked."""
        from interp.discovery.figures import curve_figure

        return curve_figure(self)

    def save(self, run) -> None:
        """Tables and figures into a run directory."""
        run.save_views("evaluation", self)
        for name in ("curve", "directions", "grouped", "pairs", "minimal"):
            run.save_table(name, getattr(self, name))


def evaluate(
    model: HookedModel, circuit: Circuit, task, *, part: str = "test", draws: int = 200, leading: int = LEADING,
    truth: Circuit | None = None, seed: int = 0, rows: int | None = None, done=None,
) -> Evaluation:
    """Faithfulness, necessity, completeness, minimality, MIB integrals and matched random circuits on held-out prompts.

    The universe of what can be removed is the circuit's scored candidates: nodes, or edges where it was found among
    edges (`candidate_edges`). `truth` adds AUPRC, AUROC and F1 against a known
    circuit; `done` keeps finished runs, as in `effects`. Raises BadInput for a circuit of another model's sites, or
    where the model and its emptied version do not differ on this metric (their ratio has no meaning).
    """
    start = time.perf_counter()
    held = task.part(part)
    if not circuit.nodes and not circuit.edges:
        raise BadInput("the circuit is empty: nothing to evaluate")
    circuits, members, scores = _cut(model, circuit, held, rows, done, part)
    check_cut(model.name, held, circuits)
    universe, inside = circuits.universe, set(members)
    ranking = sorted(universe, key=lambda n: (-abs(scores[n]), n not in inside, n.name))
    cut = circuits.keep([members])[0]
    found = faithfulness(cut, circuits.empty, circuits.full, held.clusters, seed)
    without = circuits.remove([members])[0]
    lost = circuits.empty + circuits.full - without
    necessity = faithfulness(lost, circuits.empty, circuits.full, held.clusters, seed)
    drawn = matched_circuits(members, universe, draws, seed)
    scale = circuits.full.mean() - circuits.empty.mean()
    controls = [_control(DEPTH, circuits, drawn, scale, found.value)]
    if len(drawn) < draws:  # too few circuits exist at these depths for a small p
        drawn = same_size_circuits(members, universe, draws, seed)
        controls.append(_control(SIZE, circuits, drawn, scale, found.value))
    top = members[:leading]
    return Evaluation(
        circuit=circuit, unit=getattr(task.metric, "unit", ""),
        full=bootstrap_mean(circuits.full, held.clusters), empty=bootstrap_mean(circuits.empty, held.clusters),
        faithfulness=found, necessity=necessity,
        curve=faithfulness_curve(circuits, ranking, held),
        controls=tuple(controls),
        completeness=checks.completeness(circuits, members, draws=10, greedy=3 if len(members) <= 40 else 0, seed=seed),
        integrals=mib_integrals(circuits, scores),
        directions=checks.both_directions(circuits, top, held),
        grouped=checks.grouped_removal(circuits, top, held),
        pairs=checks.pair_interactions(circuits, top, held),
        minimal=checks.minimality(circuits, members[:40], _random_additions(circuits, drawn[:50], universe, seed)),
        truth=against_truth(circuit, truth) if truth is not None else {},
        cost={"forwards": circuits.forwards, "seconds": round(time.perf_counter() - start, 2)},
        ledger={part: f"{circuits.looked} circuits measured on {len(held)} prompts, {len(drawn)} of them random "
                f"controls; single effects of {len(top)} nodes or edges"},
    )


def _cut(model: HookedModel, circuit: Circuit, held, rows, done, part: str) -> tuple[Cut, list, dict]:
    """(the model cut down to sets of what the circuit is made of, its members best first, all scores)."""
    if circuit.candidate_edges:
        scored = [*circuit.edges, *circuit.candidate_edges]
        scores = {edge._replace(score=None): edge.score for edge in scored}
        edges = EdgeCircuits(model, held, rows=rows, done=done, name=part)
        edges.graph.check(scores)
        return edges, [edge._replace(score=None) for edge in circuit.edges], dict.fromkeys(edges.universe, 0.0) | scores
    # by name, so that a circuit read from a file draws the same random circuits as the one that was saved
    universe = sorted(circuit.scores, key=lambda node: node.name) or all_nodes(model)
    for node in universe:
        model.site(node.site)
    return Circuits(model, held, universe, rows, done=done, name=part), list(circuit.nodes), circuit.scores


def _control(kind: str, circuits: Cut, drawn, scale: float, value: float) -> Control:
    if not drawn:
        return Control(kind, np.zeros(0), 1.0)
    random = (circuits.keep(drawn).mean(1) - circuits.empty.mean()) / scale
    near = np.abs(1 - random) <= abs(1 - value)
    return Control(kind, random, (1 + int(near.sum())) / (1 + len(random)))


def _random_additions(circuits: Cut, drawn, universe, seed: int) -> np.ndarray:
    """|m(R + v) - m(R)| for random circuits R and random nodes v outside them: what a useless node adds."""
    generator = np.random.default_rng(seed + 1)
    pairs = []
    for r in drawn:
        outside = [n for n in universe if n not in set(r)]
        if outside:
            pairs.append((r, [*r, outside[int(generator.integers(len(outside)))]]))
    if not pairs:
        return np.zeros(0)
    before, after = circuits.keep([p[0] for p in pairs]), circuits.keep([p[1] for p in pairs])
    return np.abs(after.mean(1) - before.mean(1))
