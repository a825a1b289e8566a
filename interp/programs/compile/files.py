"""A compiled program on disk: program.json (tables, options, what was measured), model.safetensors, truth.json.

Numbers and names only: the functions of the program are tables by then, so nothing in the files is executed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from interp.programs.compile.assemble import Options, crafted, empty
from interp.programs.compile.basis import Basis
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.graph import Attend, Embed, Graph, Lookup, Scores, Steps, Sum, Times, Variable
from interp.programs.compile.module import hook
from interp.programs.compile.verify import Verification
from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write, read_json
from interp.results.plain import to_plain
from interp.results.tensors import load_arrays, save_arrays

SCHEMA = "interp.compiled/1"
PROGRAM, WEIGHTS, TRUTH = "program.json", "model.safetensors", "truth.json"
_OPS = {kind.__name__.lower(): kind for kind in (Attend, Embed, Lookup, Steps, Sum, Times)}


def save(compiled: Compiled, path: str | Path) -> Path:
    """Write the three files into the directory `path`, each wholly or not at all; returns the path."""
    path = Path(path)
    graph, where = compiled.graph, compiled.parts.basis
    tensors = {f"model.{name}": value for name, value in compiled.model.state_dict().items()}
    tensors |= {f"basis.{key.name}": getattr(where, key.name) for key in fields(Basis)}
    data = {
        "schema": SCHEMA, "name": compiled.name, "options": asdict(compiled.options), "leak": compiled.leak,
        "check": None if compiled.check is None else to_plain(
            {key: value for key, value in vars(compiled.check).items() if key != "examples"}, "check"),
        "vocab": pack(graph.vocab), "length": graph.length, "causal": graph.causal, "labels": graph.labels,
        "variables": [{key.name: pack(getattr(v, key.name)) for key in fields(Variable)} for v in graph.variables],
        "ops": [{"op": type(op).__name__.lower(), **{key.name: pack(getattr(op, key.name)) for key in fields(op)}}
                for op in graph.ops],
        "out": graph.out if isinstance(graph.out, int) else
        {key.name: pack(getattr(graph.out, key.name)) for key in fields(Scores)},
        "others": pack(graph.others),
    }
    save_arrays(path / WEIGHTS, tensors)
    data["sha256"] = _digest(data, path / WEIGHTS)
    compiled.truth.save(path / TRUTH)
    atomic_write(path / PROGRAM, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return path


def load(path: str | Path) -> Compiled:
    """The compiled program in a directory. Raises: BadFile for anything damaged, foreign or of another schema."""
    path = Path(path)
    data = read_json(path / PROGRAM, SCHEMA)
    arrays = load_arrays(path / WEIGHTS)
    if data.pop("sha256", None) != _digest(data, path / WEIGHTS):
        raise BadFile(f"{path / PROGRAM}: damaged, or not written together with the {WEIGHTS} beside it")
    try:
        return _built(data, {name: torch.from_numpy(value) for name, value in arrays.items()})
    except (BadInput, KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise BadFile(f"{path / PROGRAM}: damaged, it makes no program ({type(error).__name__}: {error})"[:300]) \
            from error


def _digest(data: dict[str, Any], weights: Path) -> str:
    text = json.dumps(data, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode() + weights.read_bytes()).hexdigest()


def _built(data: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Compiled:
    graph = Graph(
        unpack(data["vocab"]), data["length"], data["causal"],
        [Variable(**_unpacked(v)) for v in data["variables"]],
        [_OPS[op["op"]](**_unpacked({key: value for key, value in op.items() if key != "op"})) for op in data["ops"]],
        list(data["labels"]),
        data["out"] if isinstance(data["out"], int) else Scores(**_unpacked(data["out"])), unpack(data["others"]),
    )
    if any(read >= i for i, op in enumerate(graph.ops) for read in op.reads):
        raise BadInput("an operation reads what is not yet written")
    options = Options(**data["options"])
    where = Basis(*(tensors[f"basis.{key.name}"] for key in fields(Basis)))
    parts = empty(crafted(graph, options), options, where)
    parts.module.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items()
                                  if name.startswith("model.")})
    check = None if data["check"] is None else Verification(**data["check"])
    compiled = Compiled(data["name"], graph, options, parts, hook(parts.module, f"compiled/{data['name']}"))
    compiled.check, compiled.leak = check, float(data["leak"])
    return compiled.declared()


def _unpacked(record: dict[str, Any]) -> dict[str, Any]:
    return {key: unpack(value) for key, value in record.items()}


def pack(value: Any) -> Any:
    """A value as JSON holds it: fractions and tuples say what they are. Raises: BadInput for anything else."""
    if isinstance(value, tuple):
        return {"tuple": [pack(item) for item in value]}
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator}/{value.denominator}"}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise BadInput(f"a value of the program is a {type(value).__name__}: only text, numbers and tuples are saved")


def unpack(value: Any) -> Any:
    """The inverse of `pack`."""
    if isinstance(value, dict):
        (kind, inside), = value.items()
        undo: dict[str, Callable] = {"tuple": lambda items: tuple(unpack(item) for item in items), "fraction": Fraction}
        return undo[kind](inside)
    return value
