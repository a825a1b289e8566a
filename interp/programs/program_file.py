"""Programs as JSON files that a person can read. Reading one executes nothing; every table is checked."""

import json
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import Any

import numpy as np

from interp.programs.program import (
    Categorical,
    ClosestHead,
    CountingHead,
    Embedding,
    Input,
    Lookup,
    Numerical,
    Ones,
    Operator,
    Positions,
    Program,
    Variable,
)
from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write, read_json
from interp.results.plain import to_plain

SCHEMA = "interp.program/1"
_KINDS = {kind.__name__: kind for kind in (Embedding, Positions, Ones, ClosestHead, CountingHead, Lookup)}
_HEAD = ("query", "key", "value")
_READS = {"ClosestHead": _HEAD, "CountingHead": _HEAD, "Lookup": ("first", "second")}
_ARRAY = {"Embedding": "codes", "ClosestHead": "predicate", "CountingHead": "predicate", "Lookup": "table"}
_PLAIN = ("name", "n_ctx", "causal", "pooled", "begin", "end", "unknown", "provenance")
_TEXTS = ("vocab", "labels", "never")
_FIELDS = {"schema", *_PLAIN, *_TEXTS, "inputs", "layers", "readout", "bias"}
_LARGEST = 10**8  # entries of one table: a guard against a file that asks for all memory


def save_program(program: Program, path: str | Path) -> Path:
    """Write a program as JSON, wholly or not at all. Returns the path."""
    return atomic_write(path, program_text(program))


def program_text(program: Program) -> str:
    """The JSON of a program: one line a step and a score row."""
    data = {"schema": SCHEMA} | {key: getattr(program, key) for key in (*_PLAIN, *_TEXTS)}
    data |= {
        "inputs": [_step_data(step) for step in program.inputs],
        "layers": [[_step_data(step) for step in layer] for layer in program.layers],
        "readout": {name: rows.tolist() for name, rows in program.readout.items()},
        "bias": program.bias.tolist(),
    }
    return json.dumps(to_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        '},{"kind"', '},\n{"kind"') + "\n"


def load_program(path: str | Path) -> Program:
    """The program in a file. Raises BadFile, with the reason, for one that is damaged, foreign or cannot run."""
    data = read_json(path, SCHEMA)
    try:
        if set(data) != _FIELDS:
            raise BadInput(f"fields missing or unknown: {', '.join(sorted(set(data) ^ _FIELDS))}")
        return _program(data)
    except KeyError as error:
        raise BadFile(f"{path}: not a program that can run ({error} is missing)") from error
    except (BadInput, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadFile(f"{path}: not a program that can run ({error})") from error


def _program(data: dict[str, Any]) -> Program:
    known: dict[str, Variable] = {}

    def step(row: dict[str, Any]) -> Input | Operator:
        made = _step(row, known)
        known[made.out.name] = made.out
        return made

    return Program(
        **{key: _typed(data[key], key) for key in _PLAIN},
        **{key: tuple(_text(word, key) for word in data[key]) for key in _TEXTS},
        inputs=tuple(step(row) for row in data["inputs"]),
        layers=tuple(tuple(step(row) for row in layer) for layer in data["layers"]),
        readout={name: _scores(rows, f"the readout of {name}") for name, rows in data["readout"].items()},
        bias=_scores(data["bias"], "the bias"),
    )


def _typed(value: Any, key: str) -> Any:
    kinds = {"n_ctx": int, "causal": bool, "pooled": bool, "provenance": dict, "name": str}
    wanted = kinds.get(key, str | None)
    if not isinstance(value, wanted) or (key == "n_ctx" and (isinstance(value, bool) or value < 1)):
        raise BadInput(f'"{key}" is {value!r:.60}')
    return to_plain(value)  # what could not be saved again is refused


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f'"{key}" holds {value!r:.60}, which is no text')
    return value


def _step_data(step: Input | Operator) -> dict[str, Any]:
    kind = type(step).__name__
    data: dict[str, Any] = {"kind": kind, "name": step.out.name}
    if isinstance(step.out, Categorical):
        data["symbols"] = list(step.out.symbols)
    else:
        data["top"] = step.out.top
    data |= {field: getattr(step, field) for field in _READS.get(kind, ())}
    if kind in _ARRAY:
        values = getattr(step, _ARRAY[kind])
        data[_ARRAY[kind]] = [_runs(row) for row in values] if kind == "Lookup" else values.tolist()
    return data


def _step(row: dict[str, Any], known: dict[str, Variable]) -> Input | Operator:
    row = dict(row)
    kind, name = row.pop("kind"), _text(row.pop("name"), "name")
    if kind not in _KINDS:
        raise BadInput(f"{name!r} is a {kind!r:.40}; there are {', '.join(_KINDS)}")
    if "symbols" in row:
        out: Variable = Categorical(name, tuple(_text(s, "symbols") for s in row.pop("symbols")))
    else:
        out = Numerical(name, _whole(row.pop("top"), f"the top of {name}"))
    if kind in _ARRAY:
        key = _ARRAY[kind]
        row[key] = _table(row, name, known) if kind == "Lookup" else _wholes(row[key], f"the {key} of {name}")
    return _KINDS[kind](out=out, **row)


def _runs(row: np.ndarray) -> list[list[int]]:
    """A row as [value, how often] pairs: tables of numbers are long and mostly constant."""
    return [[int(value), len(list(same))] for value, same in groupby(row.tolist())]


def _table(row: dict[str, Any], name: str, known: dict[str, Variable]) -> np.ndarray:
    wide = known[row["second"]].size
    if len(row["table"]) * wide > _LARGEST:
        raise BadInput(f"the table of {name!r} has {len(row['table'])} rows of {wide} entries")
    return np.stack([_row(runs, wide, f"a row of the table of {name}") for runs in row["table"]])


def _row(runs: list[list[int]], wide: int, what: str) -> np.ndarray:
    counts = [_whole(count, f"a run in {what}") for _, count in runs]
    if sum(counts) != wide:  # before they are written out: a file may ask for all memory
        raise BadInput(f"{what} has {sum(counts)} entries, {wide} are needed")
    return _wholes(list(chain.from_iterable(repeat(value, count) for (value, _), count in zip(runs, counts))), what)


def _wholes(values: list[int], what: str) -> np.ndarray:
    if not isinstance(values, list) or any(type(value) is not int for value in values):
        raise BadInput(f"{what} holds something else than whole numbers")
    return np.array(values, dtype=np.int64)


def _scores(values: Any, what: str) -> np.ndarray:
    found = np.array(values)
    if found.dtype.kind not in "if":
        raise BadInput(f"{what} holds something else than numbers")
    return found.astype(float)


def _whole(value: Any, what: str) -> int:
    if type(value) is not int or value < 0:
        raise BadInput(f"{what} is {value!r:.40}, not a whole number")
    return value
