"""The graph of a model: what writes to its streams, what reads from them, and as what.

Built from declared sites and equations, never from arithmetic on layer indices: shared weights give a node a visit,
parallel branches do not read each other, a mixer without heads is one node, a looped model is a deep one.
"""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from interp.hooks import HookedModel
from interp.results import BadInput, Node, RequiresResidualStream
from interp.results.node import Edge

OUTPUT = Node("output")


@dataclass(frozen=True)
class Read:
    """One way in which a component reads: a site, the role of what stands there, and whose it is, head by head.

    `targets[h]` is the node that reads along head h of the site; one target where the site has no heads.
    """

    site: str
    role: str
    targets: tuple[Node, ...]
    heads: bool


@dataclass(frozen=True)
class Component:
    """What one term of a block's equation computes: its write, the nodes that make it up, and how it reads."""

    write: str
    block: int
    nodes: tuple[Node, ...]
    reads: tuple[Read, ...]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of its nodes, each once."""
        return tuple(dict.fromkeys(node.site for node in self.nodes))


class Graph:
    """Nodes (writers) and edges of a model.

    `nodes` are the terms of the stem (embeddings), attention heads, mixers and MLPs in execution order; `edges` lead
    from each to every later reader: `q`, `k`, `v` of a head, `in` of a mixer, an MLP or the output. Where key/value
    heads are shared by several query heads, they read once: the target is `hook_k` or `hook_v` of that key/value head.
    `gated` are the writes of attentions that also depend on the stream past their queries, keys and values (a gate,
    a router); they get one more reader, the whole write. `bypassed` are writes whose heads reach something later past
    the write, or that are gated: what is between two nodes is then more than their edges. `Graph.of` finds both.
    Raises RequiresResidualStream for a model that declares no stem or no blocks.
    """

    def __init__(
        self, model: HookedModel, gated: frozenset[str] = frozenset(), bypassed: tuple[str, ...] = ()
    ):
        if model.map.stem is None or not model.map.blocks:
            raise RequiresResidualStream(f"{model.name} declares no stream (a stem and blocks), so it has no edges")
        self.model, self.bypassed = model, bypassed
        self.stem = tuple(Node(name) for name in model.map.stem.writes)
        # a step may list terms that are computed side by side: none of them reads another
        self.stages: list[list[Component]] = []
        for number, block in enumerate(model.map.blocks.values()):
            for step in block.steps:
                stage = [_component(model, block.prefix, number, write, write in gated) for write in step.writes]
                if stage:
                    self.stages.append(stage)
        self.components = [c for stage in self.stages for c in stage]

    @classmethod
    def of(cls, model: HookedModel, x) -> "Graph":
        """The graph with every gate that a run on `x` (one prompt will do) depends on."""
        from interp.discovery.edge_gradients import past_the_edges

        return cls(model, *past_the_edges(model, x, cls(model)))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every writer, in execution order."""
        return (*self.stem, *(node for c in self.components for node in c.nodes))

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge without a score, by reader in execution order."""
        return tuple(
            Edge(node, target, None, read.role)
            for earlier, read in self.readings for target in read.targets for node in earlier
        )

    @cached_property
    def readings(self) -> list[tuple[tuple[Node, ...], Read]]:
        """(the nodes that stand before it, the read) of every read, in execution order; the output's is the last."""
        found, before = [], list(self.stem)
        for stage in self.stages:
            found += [(tuple(before), read) for c in stage for read in c.reads]
            before += [node for c in stage for node in c.nodes]
        return [*found, (tuple(before), OUTPUT_READ)]

    def by_read(self, masks: Tensor) -> dict[Read, Tensor]:
        """{read: [circuit, target, earlier node]} of `masks` [circuit, edge] in the order of `edges`."""
        found, start = {}, 0
        for earlier, read in self.readings:
            size = len(read.targets) * len(earlier)
            found[read] = masks[:, start : start + size].reshape(len(masks), len(read.targets), len(earlier))
            start += size
        return found

    def check(self, edges) -> None:
        """Raise BadInput for an edge that the graph does not have."""
        known = set(self.edges)
        for edge in edges:
            if edge._replace(score=None) not in known:
                raise BadInput(f"{self.model.name} has no edge {edge.name}; list them with Graph(model).edges")


OUTPUT_READ = Read("output", "in", (OUTPUT,), False)


def _component(model: HookedModel, prefix: str, block: int, write: str, gated: bool) -> Component:
    kind = write.removeprefix(f"{prefix}.")
    cross = kind.startswith("hook_cross_attn")
    heads = [] if not kind.endswith("attn_out") else [
        name for name in model.map.sites
        if name.startswith(f"{prefix}.") and name.endswith("attn.hook_z")
        and name.removeprefix(f"{prefix}.").startswith("cross_") == cross
    ]
    if not heads:
        node = Node(write)
        return Component(write, block, (node,), (Read(write, "in", (node,), False),))
    nodes, reads = [], []
    for z in heads:
        own = [Node(z, head=h) for h in range(model.site(z).heads)]
        nodes += own
        reads += _head_reads(model, z, own)
    if gated:
        reads.append(Read(write, "in", (Node(write),), False))
    return Component(write, block, tuple(nodes), tuple(reads))


def _head_reads(model: HookedModel, z: str, own: list[Node]) -> list[Read]:
    names = {role: z.removesuffix("z") + role for role in "qkv"}
    if any(name not in model.map.sites for name in names.values()):
        return [Read(z, "in", tuple(own), True)]
    found = []
    for role, name in names.items():
        site = model.site(name)
        shared = site.groups > 1 and role != "q"
        targets = tuple(Node(name, head=h) for h in range(site.heads)) if shared else tuple(own)
        found.append(Read(name, role, targets, True))
    return found
