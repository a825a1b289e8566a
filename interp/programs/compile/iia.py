"""Interchange interventions on compiled variables: does the model hold a variable where the compiler says, and use it?

A variable's directions in one input's stream are given what they hold on another input, right behind the component
that writes them. If the model computes the program, its output is then the program's with that variable exchanged.

Paper: Geiger et al. 2021, Causal Abstractions of Neural Networks, arXiv 2106.02997.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from interp.hooks.site import Site
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.graph import Graph, Scores
from interp.programs.compile.simulate import Arrays, _one, label_scores
from interp.programs.compile.verify import with_bos
from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate, bootstrap_mean


@dataclass(frozen=True, eq=False)
class Interchange:
    """What exchanging one variable did, a pair of inputs each: `agrees` [pair], whether the model's answers are those
    of the program with the variable exchanged, at every position; `changes` [pair], whether the program's answers
    changed at all. `undefined` pairs are left out: the program has no answer for the mixture (a categorical aggregate
    that would select different values).
    """

    variable: str
    agrees: np.ndarray
    changes: np.ndarray
    undefined: int

    @property
    def accuracy(self) -> Estimate | None:
        """Share of the pairs on which model and program agree; None without a pair."""
        return _share(self.agrees)

    @property
    def accuracy_where_it_matters(self) -> Estimate | None:
        """The same on the pairs on which the exchange changes the program's answer; None where it never does.

        A model that ignores the variable scores 0 here.
        """
        return _share(self.agrees[self.changes])


def _share(agrees: np.ndarray) -> Estimate | None:
    return bootstrap_mean(agrees.astype(float), unit="pairs") if len(agrees) else None


def interchange(
    compiled: Compiled, label: str, n: int = 64, seed: int = 0, directions: torch.Tensor | None = None
) -> Interchange:
    """Exchange the variable `label` in `n` random pairs of sequences, at every position of the base at once. The source
    is as long as the base or longer, so that what depends on the length is exchanged too.

    `directions` [values, d_model] exchanges what these hold in place of the variable's own: a control.
    Raises: BadInput for an unknown variable, directions of another shape, or a model compressed into fewer dimensions
    than its variables, where nothing can be exchanged alone.
    """
    labels = compiled.graph.labels
    if label not in labels:
        raise BadInput(f"{compiled.name} has no variable {label!r}.{nearest(label, labels)}")
    if compiled.options.compress is not None:
        raise BadInput(f"{compiled.name} is compressed: its variables share directions, so none is exchanged alone")
    index = labels.index(label)
    basis = compiled.directions[label] if directions is None else directions
    if basis.ndim != 2 or basis.shape[1] != compiled.parts.basis.d_model:
        raise BadInput(f"directions have shape {list(basis.shape)}, not [values, {compiled.parts.basis.d_model}]")
    agrees, changes, undefined = [], [], 0
    for base, source in _pairs(compiled, n, seed):
        plain = simulate_with(compiled.graph, base)
        given = simulate_with(compiled.graph, source)[index][:, : base.shape[1]]
        wanted, kept = _mixed(compiled.graph, base, index, given)
        undefined += int((~kept).sum())
        if not kept.any():
            continue
        got = _exchanged(compiled, index, basis, base[kept], source[kept])
        before = answers(compiled.graph, [array[kept] for array in plain])
        after = answers(compiled.graph, wanted)
        cared = np.isfinite(after)
        agrees.append((np.isclose(_read(compiled, got), after, atol=_tolerance(compiled)) | ~cared).all(1))
        changes.append((~np.isclose(before, after) & cared).any(1))
    return Interchange(label, _joined(agrees), _joined(changes), undefined)


def interchanges(compiled: Compiled, n: int = 64, seed: int = 0) -> pd.DataFrame:
    """Every variable that the output needs, one row each: variable, node, accuracy with its interval over pairs, the
    same where the exchange changes the answer (`matters`), pairs and undefined pairs."""
    rows = []
    for i in sorted(compiled.graph.below(*compiled.graph.outputs)):
        label = compiled.graph.labels[i]
        found = interchange(compiled, label, n, seed)
        place, row = compiled.places.get(label), {"variable": label}
        row["node"] = "embedding" if place is None else place.node.label
        for name, e in (("accuracy", found.accuracy), ("matters", found.accuracy_where_it_matters)):
            values = (e.value, e.low, e.high) if e is not None else (np.nan,) * 3
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), values))
        rows.append(row | {"pairs": len(found.agrees), "changed": int(found.changes.sum()),
                           "undefined": found.undefined})
    return pd.DataFrame(rows)


def simulate_with(graph: Graph, ids: np.ndarray, put: dict[int, np.ndarray] | None = None) -> Arrays:
    """Every variable of the program on token indices [batch, pos], those in `put` being what it says.

    Raises: BadInput where the program has no value then.
    """
    put, found = put or {}, []
    for i in range(len(graph.ops)):
        found.append(put[i] if i in put else _one(graph, i, found, ids))
    return found


def answers(graph: Graph, found: Arrays) -> np.ndarray:
    """The program's answer [pair, pos]: its output's column or number, NaN where it gives none."""
    if isinstance(graph.out, Scores):
        return label_scores(graph.out, graph, found).argmax(-1).astype(float)
    answer = found[graph.out].astype(float)
    numerical = graph.variables[graph.out].encoding == "numerical"
    return answer if numerical else np.where(answer < 0, np.nan, answer)


def _pairs(compiled: Compiled, n: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(token indices of the base [pair, pos], of the source [pair, pos or more]), grouped by their lengths."""
    vocab, longest = compiled.graph.vocab, compiled.graph.length
    generator = np.random.default_rng(seed)
    lengths = Counter(tuple(sorted(pair)) for pair in generator.integers(1, longest + 1, (n, 2)).tolist())
    return [tuple(generator.integers(len(vocab), size=(count, length)) for length in both)
            for both, count in sorted(lengths.items())]


def _mixed(graph: Graph, base: np.ndarray, index: int, given: np.ndarray) -> tuple[Arrays, np.ndarray]:
    """(the program's variables on the pairs that have an answer, which pairs these are [pair])."""
    kept = np.ones(len(base), bool)
    try:
        return simulate_with(graph, base, {index: given}), kept
    except BadInput:  # some pair has none: find out which
        for row in range(len(base)):
            try:
                simulate_with(graph, base[row : row + 1], {index: given[row : row + 1]})
            except BadInput:
                kept[row] = False
    return (simulate_with(graph, base[kept], {index: given[kept]}) if kept.any() else []), kept


def _exchanged(
    compiled: Compiled, index: int, basis: torch.Tensor, base: np.ndarray, source: np.ndarray
) -> torch.Tensor:
    """The model's output [pair, 1 + pos, d_out] on `base` with the source's stream along `basis`."""
    site, x = _behind(compiled, index), with_bos(compiled, base)
    given = compiled.model.read(with_bos(compiled, source), site)[site][:, : x.shape[1]]
    along = basis.to(given)

    def exchange(value: torch.Tensor, _: Site) -> torch.Tensor:
        return value + (given - value) @ torch.linalg.pinv(along) @ along

    with torch.no_grad():
        return compiled.model.run_with_hooks(x, [(site, exchange)])


def _behind(compiled: Compiled, index: int) -> str:
    """The first site of the stream that holds a variable: nobody has read it there yet."""
    place = compiled.parts.schedule.places.get(index)
    if place is None:
        return "blocks.0.hook_resid_pre"
    mid = f"blocks.{place.depth}.hook_resid_mid"
    if place.head is not None and mid in compiled.model.map.sites:
        return mid
    return f"blocks.{place.depth}.hook_resid_post"


def _read(compiled: Compiled, output: torch.Tensor) -> np.ndarray:
    """The model's answer [pair, pos] in the same terms."""
    values = output[:, 1:].double().numpy()
    graph = compiled.graph
    if not isinstance(graph.out, Scores) and graph.variables[graph.out].encoding == "numerical":
        return values[..., 0]
    return values.argmax(-1).astype(float)


def _tolerance(compiled: Compiled) -> float:
    """How far a number may be from the program's: what it is off where nothing was exchanged, and rounding."""
    return 1e-4 + 2 * compiled.floor


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, bool)
