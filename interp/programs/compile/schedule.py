"""Where every operation runs: as soon as what it reads is there, heads and units of one depth side by side."""

from dataclasses import dataclass

from interp.programs.compile.graph import Attend, Embed, Graph, Op
from interp.results.node import Node


@dataclass(frozen=True)
class Place:
    """Where an operation is: its depth, and the head or the units [start, stop) of the MLP that compute it."""

    depth: int
    head: int | None = None
    units: tuple[int, int] | None = None

    @property
    def node(self) -> Node:
        """The node of a circuit that it is, or is in."""
        if self.head is not None:
            return Node(f"blocks.{self.depth}.attn.hook_z", head=self.head)
        return Node(f"blocks.{self.depth}.hook_mlp_out")


@dataclass(frozen=True)
class Schedule:
    """`places` of every operation but embeddings; heads and units of every depth (0 where it has none)."""

    places: dict[int, Place]
    heads: tuple[int, ...]
    units: tuple[int, ...]


def schedule(graph: Graph, units: dict[int, int]) -> Schedule:
    """The places of a graph whose MLP operations take this many units each."""
    slots: dict[int, int] = {}  # attention of depth d is slot 2d, its MLP 2d + 1; embeddings -1
    for i, op in enumerate(graph.ops):
        after = max((slots[r] for r in op.reads), default=-1) + 1
        slots[i] = -1 if isinstance(op, Embed) else after + (after % 2 != (not isinstance(op, Attend)))
    depths = 1 + max(slots.values()) // 2
    heads, used, places = [0] * depths, [0] * depths, {}
    for i, op in enumerate(graph.ops):
        depth = slots[i] // 2
        if isinstance(op, Attend):
            places[i] = Place(depth, head=heads[depth])
            heads[depth] += 1
        elif not isinstance(op, Embed):
            places[i] = Place(depth, units=(used[depth], used[depth] + units[i]))
            used[depth] += units[i]
    return Schedule(places, tuple(heads), tuple(used))


def edges(graph: Graph, i: int) -> list[tuple[str, int]]:
    """(role, variable) of everything that operation `i` reads."""
    op: Op = graph.ops[i]
    return list(op.roles) if isinstance(op, Attend) else [("in", read) for read in op.reads]
