"""The task of a compiled program: pairs of sequences that the program tells apart, read where it does.

Corrupt sequences are at least as long as clean ones, so that paths through the length vary and every activation that
is put into a clean run comes from a real position. Padding is an id, which the module masks by itself; an attention
mask would have to be one for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.programs.compile.compiled import Compiled
from interp.programs.compile.graph import Scores
from interp.programs.compile.iia import answers
from interp.programs.compile.simulate import encode_rows, simulate
from interp.programs.rasp.nodes import Value
from interp.results.errors import BadInput
from interp.tasks.metrics import AtPosition, LogitDiff
from interp.tasks.splits import split_by_cluster
from interp.tasks.task import Task

Row = tuple[Value, ...]
Wanted = Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], np.ndarray]
"""(variables of the clean sequence, of the corrupt one), label -> [pos], to the positions [pos] that may be read."""
ROUNDS, CANDIDATES = 20, 200


@dataclass(frozen=True, eq=False)
class Away(AtPosition):
    """The number that the model gives, in the direction from the corrupt answer to the clean one."""

    sign: Float[Tensor, " batch"]
    middle: Float[Tensor, " batch"]
    unit: ClassVar[str] = "the program's number"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def read(self, at: Tensor) -> Tensor:
        return at[:, 0] * self.sign.to(at)

    def correct_at(self, at: Tensor) -> Tensor:
        """Whether the number is nearer to the clean answer than to the corrupt one."""
        return (at[:, 0] - self.middle.to(at)) * self.sign.to(at) > 0


@dataclass(frozen=True)
class Known:
    """What the program says of one sequence: every variable by label, and its answer (NaN: none), each [pos]."""

    variables: dict[str, np.ndarray]
    answer: np.ndarray


def known(compiled: Compiled, rows: list[Row]) -> list[Known]:
    """The program's variables and answers on sequences of any lengths. A categorical answer is its output column."""
    graph, found = compiled.graph, {}
    for group, ids in encode_rows(graph, rows):
        arrays = simulate(graph, ids)
        answer = answers(graph, arrays)
        for row, i in enumerate(group):
            found[i] = Known({label: array[row] for label, array in zip(graph.labels, arrays)}, answer[row])
    return [found[i] for i in range(len(rows))]


def task(
    compiled: Compiled, n: int, seed: int, name: str, wanted: Wanted | None = None, shortest: int = 2
) -> Task:
    """`n` pairs whose answers differ at the position that the metric reads, drawn from `seed`.

    Half of the corrupt sequences are drawn anew, half are the clean one with a token changed; either may be longer.
    The metric is the logit of the clean answer minus that of the corrupt one, or the number in that direction. A
    cluster is a clean sequence. `wanted` restricts the positions that are read.
    Raises: BadInput where there are too few such pairs, or all prompts are one sequence.
    """
    generator = np.random.default_rng(seed)
    picked: dict[tuple[Row, Row], tuple[int, float, float]] = {}
    for _ in range(ROUNDS):
        pairs = [_pair(generator, compiled, shortest) for _ in range(CANDIDATES)]
        before, after = (known(compiled, list(rows)) for rows in zip(*pairs))
        for pair, a, b in zip(pairs, before, after):
            at = _positions(a, b, wanted)
            if len(at) and pair not in picked:
                i = int(generator.choice(at))
                picked[pair] = (i, a.answer[i], b.answer[i])
        if len(picked) >= n:
            break
    if len(picked) < n:
        raise BadInput(f"{name}: {ROUNDS * CANDIDATES} pairs gave {len(picked)} of {n} that the program tells apart")
    chosen = list(picked.items())[:n]
    clean, corrupt = (_ids(compiled, [pair[side] for pair, _ in chosen]) for side in (0, 1))
    positions, right, wrong = (np.array(column) for column in zip(*(answer for _, answer in chosen)))
    prompts = pd.DataFrame({
        "clean": [" ".join(map(str, pair[0])) for pair, _ in chosen],
        "corrupt": [" ".join(map(str, pair[1])) for pair, _ in chosen], "position": positions, "split": "",
    })
    _, clusters = np.unique(prompts["clean"], return_inverse=True)
    split = split_by_cluster(clusters, generator)
    if not all(len(rows) for rows in split.values()):
        raise BadInput(f"{name}: the pairs have {clusters.max() + 1} clean sequences, fewer than there are parts")
    for part, rows in split.items():
        prompts.loc[rows, "split"] = part
    return Task(name, clean, corrupt, _metric(compiled, positions, right, wrong), prompts, clusters, split)


def _pair(generator: np.random.Generator, compiled: Compiled, shortest: int) -> tuple[Row, Row]:
    vocab, longest = compiled.graph.vocab, compiled.graph.length
    short, long = np.sort(generator.integers(min(shortest, longest), longest + 1, 2))
    clean = generator.integers(len(vocab), size=short)
    corrupt = generator.integers(len(vocab), size=long)
    if generator.random() < 0.5:
        at = generator.integers(short)
        changed = clean.copy()
        changed[at] = (clean[at] + 1 + generator.integers(max(1, len(vocab) - 1))) % len(vocab)
        corrupt[:short] = changed
    return tuple(vocab[i] for i in clean), tuple(vocab[i] for i in corrupt)


def _positions(a: Known, b: Known, wanted: Wanted | None) -> np.ndarray:
    n = len(a.answer)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.answer - b.answer[:n]) > 1e-6  # not so for NaN
    if wanted is not None:
        apart = apart & wanted(a.variables, {label: array[:n] for label, array in b.variables.items()})
    return np.flatnonzero(apart)


def _ids(compiled: Compiled, rows: list[Row]) -> Tensor:
    """Token ids [batch, 1 + length]: BOS first, padded on the right to the longest that the model takes."""
    index = {value: i for i, value in enumerate(compiled.graph.vocab)}
    ids = torch.full((len(rows), 1 + compiled.graph.length), compiled.parts.module.sizes.pad)
    ids[:, 0] = len(index)
    for ids_row, row in zip(ids, rows):
        ids_row[1 : 1 + len(row)] = torch.tensor([index[value] for value in row])
    return ids


def _metric(compiled: Compiled, positions: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> AtPosition:
    at, out = torch.from_numpy(positions) + 1, compiled.graph.out
    if not isinstance(out, Scores) and compiled.graph.variables[out].encoding == "numerical":
        return Away(at, torch.from_numpy(np.sign(right - wrong)), torch.from_numpy((right + wrong) / 2))
    return LogitDiff(at, torch.from_numpy(right).long(), torch.from_numpy(wrong).long())
