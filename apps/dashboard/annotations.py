"""Names and groups that a person gave to the nodes of a circuit, kept beside it as annotations.json."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import streamlit as st

from apps.dashboard import folders
from interp.results.errors import BadFile, BadInput

SCHEMA = "interp.annotations/1"
FILE = "annotations.json"
LONGEST = 40


@dataclass
class Annotations:
    """`names` {label of a node: what it is called}, `groups` {label: the group it is drawn in}."""

    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)

    def call(self, label: str, name: str) -> None:
        """Rename a node; an empty name gives its own back. Raises BadInput for a long one."""
        _set(self.names, label, name)

    def put(self, label: str, group: str) -> None:
        """Put a node into a group; an empty one takes it out. Raises BadInput for a long name."""
        _set(self.groups, label, group)


def of(run: str) -> Annotations:
    """The annotations of a run in this session: as they were saved, with what was changed since."""
    held = st.session_state.setdefault("annotations", {})
    if run not in held:
        held[run] = _read(run)
    return held[run]


def save(run: str) -> str:
    """Keep them with the circuit; a run that ships is copied to our runs first. Returns the run they are kept in."""
    import json

    from interp.results.files import atomic_write

    found = of(run)
    if folders.is_shipped(run):
        run = folders.copy(run)
    atomic_write(folders.find(run) / FILE, json.dumps({"schema": SCHEMA, **asdict(found)}, indent=1))
    st.session_state["annotations"][run] = found
    return run


def annotated(circuit: Any, found: Annotations) -> Any:
    """The circuit with its annotations in its provenance, for a file that stands alone."""
    given = {key: value for key, value in asdict(found).items() if value}
    return replace(circuit, provenance=circuit.provenance | {"annotations": given}) if given else circuit


def _read(run: str) -> Annotations:
    from interp.results.files import read_json

    path = folders.find(run) / FILE
    if not path.is_file():
        given = folders.circuit(run).provenance.get("annotations", {})
    else:
        given = read_json(path, SCHEMA)
    parts = [given.get(key, {}) for key in ("names", "groups")]
    if not all(isinstance(part, dict) and all(isinstance(v, str) for v in part.values()) for part in parts):
        raise BadFile(f"{path}: names and groups are not tables of text")
    return Annotations(*(dict(part) for part in parts))


def _set(table: dict[str, str], label: str, text: str) -> None:
    text = text.strip()
    if len(text) > LONGEST:
        raise BadInput(f"{text[:20]!r}... has {len(text)} characters; a name has {LONGEST} at most")
    if text and text != label:
        table[label] = text
    else:
        table.pop(label, None)
