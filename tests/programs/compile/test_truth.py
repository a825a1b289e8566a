"""The circuit that comes with a compiled model is what its weights do, and nothing else matters."""

from functools import cache

import pytest
import torch

import interp
import interp.programs.compile as compiler
from interp.hooks import Ablate, Counterfactual, Patch, Source
from interp.programs.compile.graph import Attend, Embed
from interp.programs.compile.inputs import drawn
from interp.programs.rasp import LIBRARY, names, program, tokens
from interp.results import Node

compile = cache(compiler.compile)
DISTRACTORS = ("reverse", "count", "sort_freq")


def inputs(compiled, n=40, seed=1):
    length = compiled.graph.length
    return compiled.encode(*drawn(compiled.graph.vocab, length, n, seed, length))


@pytest.mark.parametrize("name", names())
def test_without_the_rest_nothing_changes_bit_for_bit(name):
    compiled = compile(name, "abcd", 4, distractors=DISTRACTORS) if name.find("sort") < 0 else compile(
        name, (1, 2, 3, 4), 4, distractors=("count", "detect"))
    assert compiled.negatives and not set(compiled.negatives) & set(compiled.truth.nodes)
    x = inputs(compiled)
    with torch.no_grad():
        out, cache = compiled.model.run_with_cache(x, sorted({node.site for node in compiled.negatives}))
        off = [Ablate(node.site, head=node.head) for node in compiled.negatives]
        mixed = [Patch(node.site, cache[node.site].flip(0), head=node.head) for node in compiled.negatives]
        for changes in (off, mixed):
            with compiled.model.edit(*changes):
                assert torch.equal(compiled.model(x), out)
    assert compiled.floor == 0.0


@pytest.mark.parametrize("name", names())
def test_every_node_of_the_truth_matters(name):
    compiled = compile(name, length=4)
    x = inputs(compiled, 60)
    with torch.no_grad():
        out = compiled.model(x)
        for node in compiled.truth.nodes:
            with compiled.model.edit(Ablate(node.site, head=node.head)):
                assert (compiled.model(x) - out).abs().max() > 0.05, node.name


@pytest.mark.parametrize("name", names())
def test_an_edge_is_where_weights_read_a_variable(name):
    """Without rotation a head's or a unit's weights on a variable are zero exactly where there is no edge."""
    compiled = compile(name, length=4)
    craft, module = compiled.parts.craft, compiled.parts.module
    for i, place in compiled.parts.schedule.places.items():
        op, block = compiled.graph.ops[i], module.blocks[place.depth]
        if isinstance(op, Attend):
            d = module.sizes.d_head
            rows = {r: getattr(block.attn, r).weight[place.head * d : (place.head + 1) * d] for r in "qkv"}
            wanted = set(op.roles)
        else:
            rows = {"in": block.mlp.up.weight[slice(*place.units)]}
            wanted = {("in", read) for read in op.reads}
        found = {(role, j) for role, weights in rows.items() for j in range(len(compiled.graph.ops))
                 if weights[:, craft.span(j)].any()}
        assert found == wanted


def test_reverse_is_the_circuit_one_would_draw():
    compiled = compile("reverse", "abcd", 5)
    head, length, opposite, last = (Node.from_label(label) for label in ("L0H0", "MLP0", "MLP1", "L2H0"))
    embed, positions, output = Node("hook_embed"), Node("hook_pos_embed"), Node("output")
    assert set(compiled.truth.nodes) == {head, length, opposite, last}
    assert {edge[:2] + edge[3:] for edge in compiled.truth.edges} == {
        (head, length, "in"), (length, opposite, "in"), (positions, opposite, "in"), (opposite, last, "q"),
        (positions, last, "k"), (embed, last, "v"), (last, output, "in"),
    }
    sizes = compiled.parts.module.sizes
    assert sizes.heads == (1, 0, 1) and sizes.units[2] == 0, "no dead attention, no dead MLP"
    assert compiled.units[head] == (0, 0) and compiled.units[opposite] == (1, (0, sizes.units[1]))


def test_equal_expressions_are_computed_once_and_dead_ones_never():
    twice = program("hist") + program("hist")
    compiled = compiler.compile(twice, "abc", 4)
    assert compiled.parts.module.sizes.heads == (1,), "two histograms written apart, and a map of a map, are one"
    program("reverse")  # written and not used
    assert compiler.compile(tokens == "a", "ab", 3).labels == ["tokens", "(tokens == a)"]


def effects_of(compiled, rules):
    """The largest effect of every scored node on what the right answers get, against other inputs."""
    x, other = inputs(compiled), inputs(compiled, seed=2)
    right = compiled.model(x).detach()

    def metric(output):
        return (output * right[: len(output)])[:, 1:].sum((1, 2))

    nodes = list(compiled.truth.scores)
    sources = [Source(node.site, head=node.head) for node in nodes]
    values = interp.effects(compiled.model, x, sources, metric, rules=rules, baseline=Counterfactual(other)).values
    return {node: float(value.abs().max()) for node, value in zip(nodes, values)}


@pytest.mark.parametrize("name", ["hist", "shift", "count_less_freq", "most_freq", "detect"])
def test_exact_effects_separate_the_circuit_from_the_rest(name):
    compiled = compile(name, "abcd", 4, distractors=DISTRACTORS)
    found = effects_of(compiled, "ablation")
    assert {node for node in found if found[node] > compiled.floor} == set(compiled.truth.nodes)
    assert all(found[node] == 0.0 for node in compiled.negatives)


@pytest.mark.parametrize("rules", ["tangent", "integrated"])
def test_gradients_do_not_see_a_head_behind_a_table(rules):
    """A table is flat around every value it is given. A trap for gradient methods, and what the floor is not for."""
    compiled = compile("hist", "abcd", 4, distractors=DISTRACTORS)
    head, mlp = compiled.truth.nodes
    exact, linear = effects_of(compiled, "ablation"), effects_of(compiled, rules)
    assert exact[head] > 1 and linear[head] < 1e-3
    assert linear[mlp] == pytest.approx(exact[mlp]), "the output is linear in the last write"


@pytest.mark.parametrize("options", [{"rotate": 0}, {"norm": "layernorm"}, {"norm": "rmsnorm"}])
def test_where_variables_leak_the_floor_lies_between_noise_and_effect(options):
    compiled = compiler.compile("hist", "abcd", 4, distractors=DISTRACTORS, **options)
    assert 0 < compiled.floor < 0.01
    x = inputs(compiled, seed=5)
    with torch.no_grad():
        out = compiled.model(x)
        for node, member in compiled.truth.scores.items():
            with compiled.model.edit(Ablate(node.site, head=node.head)):
                effect = float((compiled.model(x) - out).abs().max())
            assert (effect > 10 * compiled.floor) if member else (effect < 10 * compiled.floor), node.name


def test_values_directions_and_stream_agree():
    compiled = compile("sort_freq", (1, 2, 3, 4), 4)
    row = (2, 4, 2, 1)
    values, stream = compiled.values([row]), compiled.read(row)
    for label, directions in compiled.directions.items():
        names_ = compiled.value_names(label)
        assert directions.shape == (len(names_) or 1, compiled.parts.module.sizes.d_model)
        if names_:
            assert [names_[i] for i in stream[label][0].argmax(-1)] == values[label][0]
        else:
            assert stream[label][0, :, 0].tolist() == pytest.approx(values[label][0], abs=1e-6)


def test_an_interchange_of_one_variable_is_what_the_program_says():
    """Opposite positions of one input put into another through their directions: the output follows the program."""
    compiled = compile("reverse", "abcd", 5)
    base, source = "abcd", "abc"
    x, other = compiled.encode(base), compiled.encode(source)
    site, basis = "blocks.1.hook_resid_post", compiled.directions["opposite"]
    given = compiled.model.read(other, site)[site][:, 1:4] @ basis.T
    def exchange(value, site):
        value = value.clone()
        value[:, 1:4] += (given - value[:, 1:4] @ basis.T) @ basis
        return value
    out = compiled.decode(compiled.model.run_with_hooks(x, [(site, exchange)]))[0]
    assert out == ["c", "b", "a", "a"], "positions 0 to 2 read as in a sequence of three, position 3 as before"


def test_embedded_variables_have_no_place():
    compiled = compile("shift", "abcd", 4)
    embedded = {compiled.graph.labels[i] for i, op in enumerate(compiled.graph.ops) if isinstance(op, Embed)}
    assert embedded == {"tokens", "indices"} and set(compiled.places) == set(compiled.labels) - embedded
    assert LIBRARY["shift"].help in names().values()
    assert list(compiled.frame()["node"]) == ["embedding", "embedding", "L0H0"]
