"""Edges: graphs of every kind of model, linear scores against exact cuts, two ways of cutting against each other."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch

import interp
from interp.discovery.acdc import acdc
from interp.discovery.discover_edges import connected
from interp.discovery.edge_runs import EdgeCircuits
from interp.discovery.edge_scores import LINEAR, linear_edge_effects
from interp.discovery.edges import EDGE_METHODS, edge_scores
from interp.discovery.graph import OUTPUT, Graph
from interp.discovery.nodes import source
from interp.effects import effects
from interp.garden.catalog import catalog
from interp.hooks import Counterfactual
from interp.results import BadInput, Edge, Node
from tests.effects.models import curved_metric

ENTRIES = {entry.name: entry for entry in catalog()}
SMALL = dict(d_model=16, n_layers=2, n_heads=4, d_vocab=30, n_ctx=16)
KINDS = ("gpt", "llama", "post-norm", "peri-ln", "parallel", "looped", "ladder", "aaren", "sigmoid-attention", "mamba",
         "gla", "algoformer", "dual-stream", "crate", "swin", "cswin", "tokenformer", "transformer-program")
BYPASSED = ("gtrxl", "mor", "dependency-vit", "graph-transformer-edges")


@cache
def tiny(name: str):
    """A shaken model in float64 with a part of a task on it: clean and corrupt inputs and a metric."""
    entry = ENTRIES[name]
    model = entry.make(seed=0, **{size: value for size, value in SMALL.items() if size in entry.sizes})
    model = model.to(torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    x = entry.example(model, n_pos=5)
    if x.is_floating_point():
        x = x.double()
        corrupt = x + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    else:
        corrupt = x.roll(1, 0)
    part = Part(x, corrupt)
    return model, part, Graph.of(model, x)


@dataclass(frozen=True, eq=False)
class Part:
    """What of a task the runs of edges look at."""

    clean: torch.Tensor
    corrupt: torch.Tensor
    metric: object = staticmethod(curved_metric)


def outgoing(graph: Graph, values) -> torch.Tensor:
    """Sums over the edges out of every node, [node, batch]."""
    rows = {node: [] for node in graph.nodes}
    for i, edge in enumerate(graph.edges):
        rows[edge.source].append(i)
    return torch.stack([torch.as_tensor(values)[rows[node]].sum(0) for node in graph.nodes])


def close(a, b, tolerance=1e-9):
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    assert (a - b).abs().max() <= tolerance * max(1e-12, float(b.abs().max()))


# -- the graph ---------------------------------------------------------------------------------------------------------


def test_the_edges_of_gpt2_small_are_those_of_the_literature():
    layers, heads = 12, 12
    model = interp.build("gpt", d_model=heads, n_layers=layers, n_heads=heads, d_vocab=7, n_ctx=4, seed=0)
    graph = Graph(model)
    into_one = [edge for edge in graph.edges if edge.source != Node("hook_pos_embed")]
    assert len(into_one) == 32_491  # embeddings and positions counted as one input, as in EAP's code
    assert len(graph.nodes) == 2 + layers * (heads + 1)
    assert len(set(graph.edges)) == len(graph.edges)


def test_parallel_branches_do_not_read_each_other_and_key_value_heads_read_once():
    graph = tiny("parallel")[2]
    assert not [e for e in graph.edges if e.source.depth == e.target.depth and e.source.depth is not None]
    model, _, graph = tiny("llama")
    groups = model.site("blocks.0.attn.hook_k").groups
    assert groups > 1
    keys = [e for e in graph.edges if e.role == "k" and e.target.depth == 1]
    assert {e.target.site for e in keys} == {"blocks.1.attn.hook_k"}
    assert len({e.target for e in keys}) * groups == len({e.target for e in graph.edges
                                                         if e.role == "q" and e.target.depth == 1})


def test_shared_weights_give_an_edge_a_visit():
    model, _, graph = tiny("looped")
    ends = {(e.source.depth, e.target.depth) for e in graph.edges}
    assert (0, 1) in ends and (1, 0) not in ends
    assert model.map.blocks["blocks.0"].path == model.map.blocks["blocks.1"].path


def test_unknown_edges_are_refused():
    model, part, graph = tiny("gpt")
    backwards = Edge(Node("blocks.1.hook_mlp_out"), Node("blocks.0.hook_mlp_out"), None, "in")
    with pytest.raises(BadInput, match="no edge"):
        EdgeCircuits(model, part, graph).keep([[backwards]])


@pytest.mark.parametrize("name", BYPASSED)
def test_what_passes_around_the_heads_is_found_and_its_edges_are_not_cut(name):
    model, part, graph = tiny(name)
    assert graph.bypassed
    with pytest.raises(BadInput, match="gate or a router"):
        EdgeCircuits(model, part, graph)


# -- linear scores -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", LINEAR)
@pytest.mark.parametrize("name", KINDS)
def test_edges_out_of_a_node_sum_to_its_effect(name, rules):
    model, part, graph = tiny(name)
    found, _ = linear_edge_effects(model, part.clean, part.corrupt, graph, curved_metric, rules)
    assert found.shape == (len(graph.edges), len(part.clean))
    nodes = effects(model, part.clean, [source(n) for n in graph.nodes], curved_metric, rules,
                    baseline=Counterfactual(part.corrupt))
    close(outgoing(graph, found), nodes.values, 1e-6 if name == "mamba" else 1e-9)  # its scan computes in float32


@pytest.mark.parametrize("name", ["swin", "metaformer-attention"])
def test_the_tangent_of_an_edge_is_the_exact_cut_of_a_small_change(name):
    """Every edge alone: two programs that share nothing but the graph agree as the change shrinks."""
    model, part, graph = tiny(name)
    near = Part(part.clean, part.clean + 1e-5 * (part.corrupt - part.clean))
    linear, _ = linear_edge_effects(model, near.clean, near.corrupt, graph, curved_metric, "tangent")
    some = np.random.default_rng(0).choice(len(graph.edges), 12, replace=False)
    circuits = EdgeCircuits(model, near, graph)
    exact = circuits.full - circuits.remove([[graph.edges[i]] for i in some])
    assert np.abs(linear[some].numpy() - exact).max() <= 1e-3 * np.abs(exact).max()


# -- cutting edges -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in KINDS if n != "mamba"])
def test_cutting_all_edges_of_a_node_is_ablating_it(name):
    model, part, graph = tiny(name)
    circuits = EdgeCircuits(model, part, graph)
    nodes = [*graph.nodes[:2], *graph.nodes[-2:]]
    cut = circuits.full - circuits.remove([[e for e in graph.edges if e.source == node] for node in nodes])
    alone = effects(model, part.clean, [source(n) for n in nodes], curved_metric, baseline=Counterfactual(part.corrupt))
    close(cut, alone.values.numpy())
    close(circuits.full, alone.clean.numpy())


@pytest.mark.parametrize("name", ["gpt", "llama", "parallel", "looped", "sigmoid-attention", "gla", "algoformer"])
def test_one_forward_a_circuit_is_a_run_for_every_reader(name):
    model, part, graph = tiny(name)
    fast, slow = EdgeCircuits(model, part, graph), EdgeCircuits(model, part, graph, slow=True)
    assert fast.fast and not slow.fast
    masks = np.random.default_rng(0).random((4, len(graph.edges))) < [[0.1], [0.5], [0.9], [0.97]]
    close(fast.keep_masks(masks), slow.keep_masks(masks))
    late = [[edge] for edge in graph.edges[-3:]] + [[edge for edge in graph.edges if edge.target.depth == 1][:3]]
    close(fast.remove(late), slow.remove(late))  # blocks before the first cut are not computed again
    close(fast.empty, slow.empty)


@pytest.mark.parametrize("name", ["post-norm", "peri-ln", "ladder", "layerscale", "aaren", "dual-stream"])
def test_models_whose_streams_are_no_plain_sums_take_the_slow_way(name):
    assert not EdgeCircuits(*tiny(name)).fast


def test_a_cut_edge_by_hand():
    """The query of one head, computed from the stream without one earlier head's change, put into a clean run."""
    model, part, graph = tiny("gpt")
    writer, reader = Node("blocks.0.attn.hook_z", head=1), Node("blocks.1.attn.hook_z", head=0)
    names = ["blocks.0.attn.hook_result", "blocks.1.hook_resid_pre"]
    clean, corrupt = model.read(part.clean, names), model.read(part.corrupt, names)
    change = (clean[names[0]] - corrupt[names[0]])[:, :, 1]
    block = model.module.blocks[1]
    with torch.no_grad():
        seen = block.attn.q(block.ln1(clean[names[1]] - change)).reshape(*change.shape[:2], 4, -1)[:, :, 0]
        with model.edit(interp.Patch("blocks.1.attn.hook_q", seen[:, :, None], head=0)):
            by_hand = curved_metric(model(part.clean))
    circuits = EdgeCircuits(model, part, graph)
    close(circuits.remove([[Edge(writer, reader, None, "q")]])[0], by_hand.numpy())


def test_restoring_is_cutting_on_the_other_prompts():
    model, part, graph = tiny("llama")
    circuits = EdgeCircuits(model, part, graph)
    other = EdgeCircuits(model, Part(part.corrupt, part.clean), graph)
    some = list(graph.edges[::17])
    close(circuits.restored(some), other.remove([[e] for e in some]) - other.full)
    close(other.full, circuits.empty)  # all edges cut is the counterfactual run


# -- methods -----------------------------------------------------------------------------------------------------------


def test_acdc_is_the_sequential_loop():
    model, part, graph = tiny("attn-only")
    circuits = EdgeCircuits(model, part, graph)
    threshold = 0.05 * abs(float(circuits.full.mean() - circuits.empty.mean()))
    kept = list(circuits.universe)
    now = circuits.full.mean()
    for edge in reversed(circuits.universe):
        without = [e for e in kept if e != edge]
        value = circuits.keep([without])[0].mean()
        if abs(value - now) < threshold:
            kept, now = without, value
    assert [e for e, k in zip(circuits.universe, acdc(circuits, threshold)) if k] == kept
    with pytest.raises(BadInput, match="threshold"):
        acdc(circuits, 0.0)


def test_edges_that_lead_nowhere_are_left_out():
    graph = tiny("attn-only")[2]
    a, b, c = (Node("blocks.0.attn.hook_z", head=0), Node("blocks.1.attn.hook_z", head=0),
               Node("blocks.1.attn.hook_z", head=1))
    embed = Node("hook_embed")
    path = [Edge(embed, a, None, "v"), Edge(a, b, None, "k"), Edge(b, OUTPUT, None, "in")]
    assert connected(graph, [*path, Edge(a, c, None, "q")]) == path
    assert connected(graph, path[1:]) == []


def test_every_method_of_edges_finds_the_induction_circuit_or_is_a_control():
    """Recorded on the shipped checkpoint: what exact methods rank first; softmax hides it from the tangent."""
    model = interp.load("garden/induction-2l")
    part = interp.task("induction", model=model, n=24, seed=0).part("discover")
    graph = Graph(model)
    first = {}
    for method in EDGE_METHODS:
        scores, facts = edge_scores(model, part, graph, method)
        assert scores.shape == (len(graph.edges),) and np.isfinite(scores).all() and "forwards" in facts
        first[method] = graph.edges[int(np.abs(scores).argmax())].label
    assert {first[m] for m in ("auto", "path-patching", "integrated", "acdc")} == {"hook_embed -> L0H2 (v)"}
    assert first["tangent"] == "L1H2 -> output (in)"
    with pytest.raises(BadInput, match="gradient-norm"):
        edge_scores(model, part, graph, "gradient-nrom")
    with pytest.raises(BadInput, match="budget"):
        edge_scores(model, part, graph, "path-patching", budget=10)


def test_a_circuit_of_edges_is_found_saved_and_holds_on_held_out_prompts(tmp_path):
    model = interp.load("garden/induction-2l")
    task = interp.task("induction", model=model, n=48, seed=0)
    circuit = interp.discover(model, task, level="edges")
    assert len(circuit.edges) + len(circuit.candidate_edges) == len(Graph(model).edges)
    assert {n.label for n in circuit.nodes} == {"L0H2", "L1H0", "L1H1", "L1H2", "L1H3"}
    assert interp.Circuit.load(circuit.save(tmp_path / "c.json")) == circuit
    evaluation = interp.evaluate(model, circuit, task, draws=20)
    assert 0.9 < evaluation.faithfulness.value < 1.1
    assert evaluation.controls[0].p <= 1 / 21
    assert evaluation.directions["node"].iloc[0] == circuit.edges[0].label
    with pytest.raises(BadInput, match="positions"):
        interp.discover(model, task, level="edges", positions=[-1])
    with pytest.raises(BadInput, match="level"):
        interp.discover(model, task, level="edgs")


def test_finished_circuits_of_edges_are_taken_from_the_store():
    class Store:
        def __init__(self):
            self.kept, self.taken = {}, 0

        def get(self, draw, label):
            self.taken += label in self.kept
            return self.kept.get(label)

        def put(self, draw, labels, effects):
            self.kept |= dict(zip(labels, effects))

    model, part, graph = tiny("attn-only")
    store = Store()
    scores, _ = edge_scores(model, part, graph, "auto", done=store)
    count = len(store.kept)
    again, _ = edge_scores(model, part, graph, "auto", done=store)
    assert len(store.kept) == count and store.taken >= count and np.array_equal(scores, again)
    plain, _ = edge_scores(model, part, graph, "auto")
    assert np.allclose(plain, scores)  # what is restored is not taken for what is cut
