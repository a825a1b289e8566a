"""What every `Program` is checked for when it is made, so that one that exists can run."""

from collections.abc import Mapping

import numpy as np

from interp.programs.program import (
    NOWHERE,
    Categorical,
    ClosestHead,
    CountingHead,
    Embedding,
    Head,
    Input,
    Lookup,
    Numerical,
    Ones,
    Operator,
    Positions,
    Program,
    Variable,
)
from interp.results.errors import BadInput


def check(program: Program) -> None:
    """Raises BadInput for a program that could not run."""
    if program.n_ctx < 1 or not program.inputs:
        raise BadInput(f"{program.name} has {program.n_ctx} positions, {len(program.inputs)} inputs: none is too few")
    for what in ("vocab", "labels"):
        _different(getattr(program, what), f"the {what} of {program.name}")
    for kind, steps in ((Input, program.inputs), (Operator, program.operators)):
        for step in steps:
            if not isinstance(step, kind):
                raise BadInput(f"{step.out.name!r} of {program.name} is a {type(step).__name__}: inputs come first")
    known: dict[str, Variable] = {}
    for step in program.steps:
        name = step.out.name
        if name in known:
            raise BadInput(f"two steps of {program.name} write {name!r}")
        for read in step.reads:
            if read not in known:
                raise BadInput(f"{name!r} of {program.name} reads {read!r}, which nothing before it writes")
        _check_step(program, step, known)
        known[name] = step.out
    for name, rows in program.readout.items():
        if name not in known:
            raise BadInput(f"the readout of {program.name} reads {name!r}, which nothing writes")
        size = known[name].size if isinstance(known[name], Categorical) else 1
        _shape(rows, (size, len(program.labels)), f"the readout of {name}")
    _shape(program.bias, (len(program.labels),), "the bias")
    if not set(program.never) < set(program.labels):
        raise BadInput(f"{program.name} answers with {list(program.labels)}, never with {list(program.never)}: "
                       "nothing is left, or a label is unknown")
    for name in ("begin", "end", "unknown"):
        if (word := getattr(program, name)) is not None and word not in program.vocab:
            raise BadInput(f"{name} of {program.name} is {word!r}, which its vocabulary lacks")


def _check_step(program: Program, step: Input | Operator, known: Mapping[str, Variable]) -> None:
    name = step.out.name
    if isinstance(step.out, Categorical):
        _different(step.out.symbols, f"the symbols of {name}")
    if isinstance(step, Ones) and step.out.top < 1:
        raise BadInput(f"{name!r} holds ones and its top is {step.out.top}")
    if isinstance(step, Embedding):
        _table(step.codes, (len(program.vocab),), step.out.size, f"the codes of {name}")
    elif isinstance(step, Positions) and step.out.size != program.n_ctx:
        raise BadInput(f"{name!r} has {step.out.size} values and the program {program.n_ctx} positions")
    elif isinstance(step, Head):
        query, key, value = (known[read] for read in step.reads)
        if not isinstance(query, Categorical) or not isinstance(key, Categorical):
            raise BadInput(f"{name!r} compares {step.query!r} with {step.key!r}: both must be categorical")
        _table(step.predicate, (query.size,), key.size, f"the predicate of {name}", partial=True)
        if isinstance(step, ClosestHead) and getattr(value, "symbols", None) != step.out.symbols:
            raise BadInput(f"{name!r} copies {step.value!r}, whose symbols are not its own")
        if isinstance(step, CountingHead) and not isinstance(value, Numerical):
            raise BadInput(f"{name!r} sums {step.value!r}, which is no number")
        if isinstance(step, CountingHead) and step.out.top < value.top * program.n_ctx:
            raise BadInput(f"{name!r} can reach {value.top * program.n_ctx}, above its top of {step.out.top}")
    elif isinstance(step, Lookup):
        sizes = tuple(known[read].size for read in step.reads)
        _table(step.table, sizes, step.out.size, f"the table of {name}", partial=True)


def _different(words: tuple[str, ...], what: str) -> None:
    if not words or len(set(words)) < len(words):
        twice = next((word for word in words if words.count(word) > 1), None)
        raise BadInput(f"{what}: {'there are none' if not words else f'{twice!r} is there twice'}")


def _table(values: np.ndarray, shape: tuple[int, ...], size: int, what: str, partial: bool = False) -> None:
    _shape(values, shape, what)
    low = NOWHERE if partial else 0
    if values.dtype.kind not in "iu" or (values.size and not low <= values.min() <= values.max() < size):
        raise BadInput(f"{what} must hold whole numbers from {low} to {size - 1}")


def _shape(values: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if not isinstance(values, np.ndarray) or values.shape != shape:
        raise BadInput(f"{what} has shape {list(np.shape(values))}, {list(shape)} is needed")
    if not np.isfinite(values).all():
        raise BadInput(f"{what} holds NaN or infinity")
