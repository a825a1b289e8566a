"""Does the model compute the program? Counted, with the margins of every decision; and what leaks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from interp.hooks.interventions import Ablate, Patch
from interp.programs.compile.graph import Scores, Variable
from interp.programs.compile.inputs import some
from interp.programs.compile.simulate import encode_rows, nearest_number, simulate
from interp.programs.rasp.evaluate import evaluate, plain
from interp.programs.rasp.nodes import Value
from interp.results.errors import BadInput
from interp.results.progress import progress

if TYPE_CHECKING:
    from interp.programs.compile.compiled import Compiled

BATCH = 1024


@dataclass(frozen=True)
class Verification:
    """`inputs` sequences with `positions` answers in all were compared (don't-cares left out): on `wrong` sequences
    an answer differs; `examples` are up to five (sequence, model, program).

    `margins`: the smallest of every variable and of the output. Of a categorical one: its right value minus the next
    best. Of a numerical one: 1 - 2 |error| / gap to the next number. Of a readout: best score minus the next.
    `error`: largest distance of an output from what it should be.
    """

    inputs: int
    positions: int
    wrong: int
    margins: dict[str, float]
    error: float
    examples: tuple[tuple[tuple[Value, ...], list[Value], list[Value]], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every answer was right."""
        return self.wrong == 0


def verify(
    compiled: "Compiled", n: int | None = None, seed: int = 0, rows: Sequence[Sequence[Value]] | None = None,
    oracle: bool = True,
) -> Verification:
    """See `Compiled.verify`; without `oracle` the program's tables say what is right, which is much faster."""
    graph = compiled.graph
    chosen = [tuple(row) for row in rows] if rows is not None else some(graph.vocab, graph.length, n, seed)
    if not chosen:
        raise BadInput("no sequences were given to verify on")
    positions, wrong, error, examples = 0, [], 0.0, []
    margins: dict[str, float] = {}
    literal = oracle and compiled.program is not None
    for group, ids in progress(list(_batches(compiled, chosen)), f"verifying {compiled.name}"):
        output, inside = _run(compiled, ids)
        ideal = compiled.ideal(ids)
        error = max(error, float(np.abs(output - ideal).max()))
        _margins(compiled, margins, inside, output, ids)
        for i, got, right in zip(group, output, ideal):
            answer = compiled._decoded(got)
            if literal:
                want = evaluate(compiled.program, chosen[i], graph.causal)
            else:
                want = compiled._decoded(right)
            cared = [(plain(a), plain(w)) for a, w in zip(answer, want) if w is not None]
            positions += len(cared)
            if any(not _same(a, w) for a, w in cared):
                wrong.append(i)
                examples.append((chosen[i], [plain(a) for a in answer], [plain(w) for w in want]))
    return Verification(len(chosen), positions, len(wrong), margins, error, tuple(examples[:5]))


def _same(a: Value, b: Value) -> bool:
    both = isinstance(a, float | int) and isinstance(b, float | int)
    return abs(a - b) <= 1e-6 * max(1.0, abs(b)) if both else a == b


def _batches(compiled: "Compiled", rows: Sequence[tuple[Value, ...]]) -> Iterator[tuple[list[int], np.ndarray]]:
    for row in rows:
        compiled._checked(row)
    for group, ids in encode_rows(compiled.graph, rows):
        for start in range(0, len(group), BATCH):
            yield group[start : start + BATCH], ids[start : start + BATCH]


def _run(compiled: "Compiled", ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Output [batch, pos, d_out] and the last stream in the program's coordinates [batch, pos, d]."""
    last = f"blocks.{compiled.model.n_layers - 1}.hook_resid_post"
    output, cache = compiled.model.run_with_cache(with_bos(compiled, ids), last)
    inside = cache[last].double() @ compiled.parts.basis.decode.T
    return output.detach().double().numpy()[:, 1:], inside.numpy()[:, 1:]


def with_bos(compiled: "Compiled", ids: np.ndarray) -> torch.Tensor:
    """Input of the model for token indices of one length."""
    bos = np.full((len(ids), 1), len(compiled.graph.vocab))
    return torch.from_numpy(np.concatenate([bos, ids], 1))


def _margins(
    compiled: "Compiled", margins: dict[str, float], inside: np.ndarray, output: np.ndarray, ids: np.ndarray
) -> None:
    graph, craft = compiled.graph, compiled.parts.craft
    for i, right in enumerate(simulate(graph, ids)):
        margin = variable_margin(graph.variables[i], inside[..., craft.span(i)], right)
        margins[graph.labels[i]] = min(margins.get(graph.labels[i], np.inf), margin)
    if isinstance(graph.out, Scores) and output.shape[-1] > 1:
        best = np.sort(output, -1)
        gap = best[..., -1] - best[..., -2]
        margins["output"] = min(margins.get("output", np.inf), float(gap.min()))


def variable_margin(variable: Variable, held: np.ndarray, right: np.ndarray) -> float:
    """The smallest margin of what is held [..., width] against the right values [...]."""
    if variable.encoding == "categorical":
        known = right >= 0
        held, right = held[known], right[known]
        if not len(right) or variable.width == 1:
            return float(held.min()) if len(right) else 1.0
        best = held[np.arange(len(right)), right]
        others = held.copy()
        others[np.arange(len(right)), right] = -np.inf
        return float((best - others.max(-1)).min())
    if variable.numbers is None or len(variable.numbers) < 2:
        return 1.0
    known = np.array([float(number) for number in variable.numbers])
    gaps = np.diff(known)
    to_next = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    return float((1 - 2 * np.abs(held[..., 0] - right) / to_next[nearest_number(variable, right)]).min())


def leakage(compiled: "Compiled", n: int = 64, seed: int = 0) -> float:
    """The largest change of any output when a component outside the truth is set to zero, or to what it is on other
    inputs; 0.0 where there are none."""
    if not compiled.negatives:
        return 0.0
    graph = compiled.graph
    ids = np.random.default_rng(seed).integers(0, len(graph.vocab), (n, graph.length))
    x = with_bos(compiled, ids)
    sites = sorted({node.site for node in compiled.negatives})
    with torch.no_grad():
        plain_run, cache = compiled.model.run_with_cache(x, sites)
        worst = 0.0
        for node in compiled.negatives:
            other = cache[node.site].roll(1, 0)
            for change in (Ablate(node.site, head=node.head), Patch(node.site, other, head=node.head)):
                with compiled.model.edit(change):
                    worst = max(worst, float((compiled.model(x) - plain_run).abs().max()))
    return worst
