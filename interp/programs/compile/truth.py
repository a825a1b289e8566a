"""The circuit that was built: which components compute the program, what reads what as what, and what is idle."""

from interp.programs.compile.graph import Embed, Graph
from interp.programs.compile.module import CompiledModule
from interp.programs.compile.schedule import Schedule, edges
from interp.results.circuit import Circuit
from interp.results.node import Edge, Node

EMBED, POSITIONS, OUTPUT = Node("hook_embed"), Node("hook_pos_embed"), Node("output")


def source(graph: Graph, plan: Schedule, i: int) -> Node | None:
    """The node that writes variable `i`; None for a constant, which no input changes."""
    op = graph.ops[i]
    if isinstance(op, Embed):
        return {"tokens": EMBED, "indices": POSITIONS, "constant": None}[op.source]
    return plan.places[i].node


def truth(graph: Graph, plan: Schedule, model: str, task: str, provenance: dict) -> Circuit:
    """Heads and MLPs that compute the output, score 1, with the edges between them, the embeddings and the output.

    Components that only distractors use are among the scores with 0. An edge says that its target reads a variable
    that its source writes. What every input has alike (BOS, constants) is no edge.
    """
    alive = graph.below(*graph.outputs)
    members = {plan.places[i].node: 1.0 for i in plan.places if i in alive}
    every = sorted({place.node for place in plan.places.values()}, key=lambda node: (len(node.name), node.name))
    scores = {node: members.get(node, 0.0) for node in every}  # in an order that does not tell members from the rest
    found = []
    for i in sorted(alive):
        if i in plan.places:
            found += [(source(graph, plan, read), plan.places[i].node, role) for role, read in edges(graph, i)]
    found += [(source(graph, plan, i), OUTPUT, "in") for i in graph.outputs]
    kept = dict.fromkeys(edge for edge in found if edge[0] is not None)
    return Circuit(
        model, task, "compiled", tuple(members), scores,
        tuple(Edge(start, end, None, role) for start, end, role in kept), provenance,
    )


def negatives(graph: Graph, plan: Schedule) -> tuple[Node, ...]:
    """Heads and MLPs that are in the model and have no part in its output."""
    alive = graph.below(*graph.outputs)
    used = {plan.places[i].node for i in plan.places if i in alive}
    every = dict.fromkeys(place.node for place in plan.places.values())
    return tuple(node for node in every if node not in used)


def idle(module: CompiledModule, unused: tuple[Node, ...]) -> tuple[dict[str, str], dict[str, str]]:
    """(parameters, sites) inside branches that only unused components are in, with the reason.

    What such a branch adds to the stream is not among them: noise there reaches every variable.
    """
    why = "only distractors use it"
    parameters, sites = {}, {}
    for depth, heads in enumerate(module.sizes.heads):
        off = [node for node in unused if node.depth == depth]
        if heads and sum(node.head is not None for node in off) == heads:
            parameters |= {f"blocks.{depth}.attn.{letter}": why for letter in "qkv"}
            kinds = ("q", "k", "v", "attn_scores", "pattern", "z")
            sites |= {f"blocks.{depth}.attn.hook_{kind}": why for kind in kinds}
        if any(node.head is None for node in off):
            parameters[f"blocks.{depth}.mlp.up"] = why
            sites |= {f"blocks.{depth}.mlp.hook_{kind}": why for kind in ("pre", "post")}
    return parameters, sites
