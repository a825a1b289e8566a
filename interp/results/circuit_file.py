"""Circuits as JSON: one line a node and an edge, by name, so that a person can read and compare two files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.results.errors import BadFile, BadInput
from interp.results.files import read_json
from interp.results.node import Edge, Node

if TYPE_CHECKING:
    from interp.results.circuit import Circuit

SCHEMA = "interp.circuit/1"
_FIELDS = {
    "schema": str,
    "model": str,
    "task": str,
    "method": str,
    "nodes": dict,
    "candidates": dict,
    "edges": dict,
    "provenance": dict,
}
_OPTIONAL = {"candidate_edges": dict}  # only methods that score edges write it


def circuit_text(circuit: "Circuit") -> str:
    """The JSON of a circuit. nodes, candidates: {name: score}; edges: {"source -> target (role)": score or null}."""
    members = set(circuit.nodes)
    data = {
        "schema": SCHEMA,
        "model": circuit.model,
        "task": circuit.task,
        "method": circuit.method,
        "nodes": {node.name: circuit.scores[node] for node in circuit.nodes},
        "candidates": {node.name: score for node, score in circuit.scores.items() if node not in members},
        "edges": {edge.name: edge.score for edge in circuit.edges},
        "provenance": circuit.provenance,
    }
    if circuit.candidate_edges:
        data["candidate_edges"] = {edge.name: edge.score for edge in circuit.candidate_edges}
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_circuit(path: str | Path) -> dict[str, Any]:
    """The fields of the Circuit in a JSON file.

    Raises: BadFile when it is damaged, foreign or of another schema.
    """
    data = read_json(path, SCHEMA)
    try:
        return _fields(data)
    except BadInput as error:
        raise BadFile(f"{path}: {error}") from error


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    odd = sorted((set(data) - set(_OPTIONAL)) ^ set(_FIELDS))
    if odd:
        raise BadInput(f"not the fields of a circuit: {', '.join(odd)[:200]} missing or unknown")
    data = {key: {} for key in _OPTIONAL} | data
    for key, kind in (_FIELDS | _OPTIONAL).items():
        if not isinstance(data[key], kind):
            raise BadInput(f'"{key}" is a {type(data[key]).__name__}, not a {kind.__name__}')
    members = {Node.parse(name): _number(name, score) for name, score in data["nodes"].items()}
    others = {Node.parse(name): _number(name, score) for name, score in data["candidates"].items()}
    if len(members | others) != len(data["nodes"]) + len(data["candidates"]):
        raise BadInput("a node is named twice")
    edges, candidates = (
        tuple(Edge.parse(name, None if score is None else _number(name, score)) for name, score in data[key].items())
        for key in ("edges", "candidate_edges")
    )
    copied = {key: data[key] for key in ("model", "task", "method", "provenance")}
    nodes = {"nodes": tuple(members), "scores": members | others}
    return {**copied, **nodes, "edges": edges, "candidate_edges": candidates}


def _number(name: str, score: Any) -> float:
    # bool is an int in Python, and a score of `true` is a mistake.
    if type(score) not in (int, float):
        raise BadInput(f"the score of {name[:120]} is {score!r:.40}, not a number")
    try:
        return float(score)
    except OverflowError as error:
        raise BadInput(f"the score of {name[:120]} is too large") from error
