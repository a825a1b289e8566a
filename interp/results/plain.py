"""Values reduced to what JSON and TOML can hold, and a TOML writer (the standard library only reads it)."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from interp.results.errors import BadInput
from interp.results.estimate import Estimate

_DEEPEST = 40
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_plain(value: Any, where: str = "value", *, _depth: int = 0) -> Any:
    """The same value out of dicts with text keys, lists, text, 64-bit integers, finite floats, booleans and
    None.

    Tuples become lists; paths become text; dataclasses, Estimates, numpy and torch numbers and arrays are
    opened. Applied twice it changes nothing more, so what is saved and read again compares equal.
    Raises: BadInput naming the place (`where`) of a NaN, an infinity, a key that is not text or any other
    object.
    """
    if _depth > _DEEPEST:
        raise BadInput(f"{where} is nested deeper than {_DEEPEST} levels")
    if value is None or isinstance(value, (bool, np.bool_)):
        return value if value is None else bool(value)
    if isinstance(value, (str, Path)):
        return _text(str(value), where)
    if isinstance(value, (int, np.integer)):
        return _integer(int(value), where)
    if isinstance(value, (float, np.floating)):
        return _float(float(value), where)
    if isinstance(value, Mapping):
        return {
            _key(key, where): to_plain(item, f"{where}.{key}", _depth=_depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [to_plain(item, f"{where}[{i}]", _depth=_depth + 1) for i, item in enumerate(value)]
    return to_plain(_opened(value, where), where, _depth=_depth + 1)


def _opened(value: Any, where: str) -> Any:
    """One layer off an object that is not plain itself."""
    if isinstance(value, Estimate):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    to_list = getattr(value, "tolist", None)  # numpy and torch, without importing torch here
    if callable(to_list):
        return to_list()
    raise BadInput(f"{where} is a {type(value).__name__}, which cannot be saved as JSON or TOML")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{where} is not valid Unicode text") from error
    return value


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise BadInput(f"{where} has the key {key!r:.60}; keys must be text")
    return _text(key, f"a key of {where}")


def _integer(value: int, where: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise BadInput(f"{where} is an integer of more than 64 bits")
    return value


def _float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise BadInput(f"{where} is {value}, which is not a number that can be saved")
    return value


def without_none(value: Any) -> Any:
    """The same plain value with None entries of tables left out: TOML has no null, an absent key means "not
    set".
    """
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


def toml_text(table: Mapping[str, Any]) -> str:
    """A TOML document such that `tomllib.loads` gives the table back; scalars first, then one [section] a
    sub-table.

    None entries of tables are left out. Raises: BadInput for a None inside a list or anything `to_plain`
    refuses.
    """
    return "\n".join(_section(without_none(to_plain(table, "config")), ())).lstrip("\n") + "\n"


def _section(table: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"\n[{'.'.join(map(_toml_key, path))}]"] if path else []
    lines += [
        f"{_toml_key(key)} = {_toml_value(item)}" for key, item in table.items() if not isinstance(item, dict)
    ]
    for key, item in table.items():
        if isinstance(item, dict):
            lines += _section(item, (*path, key))
    return lines


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if value is None:
        raise BadInput("config holds a None inside a list; TOML has no null")
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for the one control character that JSON leaves alone.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)  # booleans, integers and finite floats are written alike in both
