"""Nodes and edges of a circuit, and the one place that writes and reads their names and short labels."""

import operator
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from interp.results.errors import BadInput

_SITE = re.compile(r"[^\s\[\]@,*]{1,200}")
_NAME = re.compile(r"(?P<site>[^\[\]]+)(?:\[(?:head=(?P<head>\d+))?(?P<comma>,)?(?:pos=(?P<pos>-?\d+))?\])?")
_IN_BLOCK = re.compile(r"(?P<stack>.*?\.)?blocks\.(?P<depth>0|[1-9]\d{0,5})\.(?P<rest>.+)")
_PLAIN_STACK = re.compile(r"(?:[A-Za-z_]+\.)*")  # no digits: they would read as a depth in a label
_LABEL = re.compile(
    r"(?P<stack>(?:[A-Za-z_]+\.)*)"
    r"(?:(?P<kind>MLP|ATTN|MIX)(?P<at>\d+)|L(?P<depth>\d+)(?:H(?P<head>\d+))?(?:\.(?P<rest>[^@\[\]]+))?)"
    r"(?:\[head=(?P<bracket>\d+)\])?(?:@(?P<pos>-?\d+))?"
)
ROLES = ("q", "k", "v", "in")
_EDGE = re.compile(rf"(?P<source>\S+) -> (?P<target>\S+)(?: \((?P<role>{'|'.join(ROLES)})\))?")
_SITE_OF = {"MLP": "hook_mlp_out", "ATTN": "hook_attn_out", "MIX": "hook_mixer_out"}
_KIND_OF = {site: kind for kind, site in _SITE_OF.items()}
_HEAD_SITE = re.compile(r"attn\.hook_(\w+)")
_LARGEST = 10**9


@dataclass(frozen=True)
class Node:
    """One piece of a model: a site, and of that site one head and one position where they are given.

    A head counts from 0 along the site's head axis; a negative position counts from the last real token.
    Raises: BadInput when the site is not one legal name (a wildcard, a space) or head and pos are not
    integers.
    """

    site: str
    head: int | None = None
    pos: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.site, str) or not _SITE.fullmatch(self.site):
            raise BadInput(f"{self.site!r:.80} is not the name of one site, such as blocks.3.attn.hook_z")
        object.__setattr__(self, "head", _whole(self.head, f"head of {self.site}", 0))
        object.__setattr__(self, "pos", _whole(self.pos, f"pos of {self.site}", -_LARGEST))

    @property
    def name(self) -> str:
        """Full name: blocks.3.attn.hook_z[head=5], hook_embed[pos=-1], blocks.0.attn.hook_q[head=1,pos=4]."""
        index = [
            f"{key}={value}" for key, value in (("head", self.head), ("pos", self.pos)) if value is not None
        ]
        return f"{self.site}[{','.join(index)}]" if index else self.site

    @property
    def label(self) -> str:
        """Short label: L3H5, L3H5.q, MLP3, encoder.L0H1, L2.mixer.hook_state, L3H5@-1; else the name."""
        match = _IN_BLOCK.fullmatch(self.site)
        if match is None or not _PLAIN_STACK.fullmatch(match["stack"] or ""):
            return self.name
        position = "" if self.pos is None else f"@{self.pos}"
        return f"{match['stack'] or ''}{_short(match['depth'], match['rest'], self.head)}{position}"

    @property
    def stack(self) -> str:
        """What stands before "blocks": "" in most models, else "encoder", "decoder" and the like."""
        match = _IN_BLOCK.fullmatch(self.site)
        return (match["stack"] or "").rstrip(".") if match else ""

    @property
    def depth(self) -> int | None:
        """Execution depth, or None for a site outside the blocks."""
        match = _IN_BLOCK.fullmatch(self.site)
        return int(match["depth"]) if match else None

    @property
    def kind(self) -> str:
        """The site without its stack and depth: attn.hook_z, hook_mlp_out, hook_embed."""
        match = _IN_BLOCK.fullmatch(self.site)
        return match["rest"] if match else self.site

    @classmethod
    def parse(cls, name: str) -> "Node":
        """The node with this full name; `Node.parse(node.name) == node`. Raises: BadInput."""
        match = _NAME.fullmatch(name)
        if match is None or bool(match["comma"]) != (match["head"] is not None and match["pos"] is not None):
            raise BadInput(
                f"{name!r:.80} is not a node, such as blocks.3.attn.hook_z[head=5] or hook_embed[pos=-1]"
            )
        return cls(match["site"], _number(match["head"]), _number(match["pos"]))

    @classmethod
    def from_label(cls, label: str) -> "Node":
        """The node with this short label, or with this full name: what a person types. Raises: BadInput."""
        match = _LABEL.fullmatch(label)
        if match is None:
            return cls.parse(label)
        return cls(_long(match), _number(match["head"] or match["bracket"]), _number(match["pos"]))


class Edge(NamedTuple):
    """What one node writes and another reads, with its score where the method scores edges.

    `role` says as what the target reads it: "q", "k" or "v" of an attention head, "in" of anything else; None where
    the method does not tell them apart. Edges that differ in their role are different edges.
    """

    source: Node
    target: Node
    score: float | None = None
    role: str | None = None

    @property
    def name(self) -> str:
        """blocks.0.attn.hook_z[head=1] -> output, with its role behind it where it has one: a -> b (q)."""
        return f"{self.source.name} -> {self.target.name}" + (f" ({self.role})" if self.role else "")

    @property
    def label(self) -> str:
        """L0H1 -> L1H3 (k): the name with short labels of its ends."""
        return f"{self.source.label} -> {self.target.label}" + (f" ({self.role})" if self.role else "")

    @classmethod
    def parse(cls, name: str, score: float | None = None) -> "Edge":
        """The edge with this name. Raises: BadInput."""
        match = _EDGE.fullmatch(name)
        if match is None:
            raise BadInput(f"{name!r:.80} is not an edge, such as hook_embed -> output or "
                           "hook_embed -> blocks.0.attn.hook_z[head=1] (q)")
        return cls(Node.parse(match["source"]), Node.parse(match["target"]), score, match["role"])


def _whole(value: Any, what: str, lowest: int) -> int | None:
    """An index as a plain int: numpy and torch integers are welcome, True and 3.0 are mistakes."""
    if value is None:
        return None
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not lowest <= number <= _LARGEST:
        raise BadInput(f"{what} is {value!r:.40}, not an integer from {lowest}")
    return number


def _short(depth: str, rest: str, head: int | None) -> str:
    if head is None:
        return f"{_KIND_OF[rest]}{depth}" if rest in _KIND_OF else f"L{depth}.{rest}"
    match = _HEAD_SITE.fullmatch(rest)
    if match is None:
        return f"L{depth}.{rest}[head={head}]"
    # The usual case, what a head gives out, has the shortest label; the others say which tensor.
    return f"L{depth}H{head}" + ("" if match[1] == "z" else f".{match[1]}")


def _long(match: re.Match) -> str:
    """The site of a label taken apart: the inverse of `_short`."""
    if match["kind"]:
        return f"{match['stack']}blocks.{int(match['at'])}.{_SITE_OF[match['kind']]}"
    if match["head"]:
        rest = f"attn.hook_{match['rest'] or 'z'}"
    elif match["rest"]:
        rest = match["rest"]
    else:
        raise BadInput(f"{match[0]!r:.80} names no node; a head is L3H5 and an MLP is MLP3")
    return f"{match['stack']}blocks.{int(match['depth'])}.{rest}"


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
