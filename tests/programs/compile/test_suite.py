"""The suite of programs with known circuits: deterministic, complete, and no harder or easier than it says."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.discovery.graph import Graph
from interp.discovery.nodes import nodes
from interp.hooks import Ablate, Patch
from interp.programs.compile.iia import answers, simulate_with
from interp.programs.compile.simulate import simulate
from interp.programs.compile.suite import TRAPS, case, library_case, suite
from interp.programs.compile.suite.bases import random_base
from interp.programs.compile.suite.drawn import copied, draw, leaves
from interp.programs.compile.suite.generate import VARIANTS
from interp.programs.compile.suite.traps import LEFT, RIGHT, idle_programs
from interp.programs.compile.truth import POSITIONS
from interp.programs.rasp import evaluate
from interp.results import BadInput, Node
from interp.results.node import Edge

case = cache(case)
INDICES = tuple(t + len(TRAPS) * (t % len(VARIANTS)) for t in range(len(TRAPS)))
"""One case of every trap, all norms, rotated and not."""
EXACT = dict(zip(TRAPS, range(len(TRAPS))))
"""The cases in a plain stream, where what does not matter has no effect at all."""


def test_every_trap_stream_and_class_is_there():
    cases = [case(i) for i in INDICES]
    assert [c.trap for c in cases] == list(TRAPS)
    assert {(c.norm if c.norm != "none" else None, c.rotated) for c in cases} == set(VARIANTS)
    assert {c.kind for c in cases} == {"library", "random"}
    assert all(c.negatives["distractor"] for c in cases) and case(INDICES[1]).negatives["reader"]


def test_a_case_is_its_seed_and_index_whatever_was_made_before():
    alone, (_, among) = case(1), suite(2)
    other = next(suite(1, seed=1))
    assert alone.name == among.name != other.name
    assert torch.equal(alone.task.clean, among.task.clean) and torch.equal(alone.task.corrupt, among.task.corrupt)
    weights = alone.compiled.model.state_dict(), among.compiled.model.state_dict()
    assert weights[0].keys() == weights[1].keys() and all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())
    assert alone.truth == among.truth and alone.labels == among.labels and alone.idle == among.idle


@pytest.mark.parametrize("index", INDICES)
def test_labels_are_the_compilers_and_idle_nodes_apart(index):
    c = case(index)
    assert c.truth is c.compiled.truth and set(c.truth.scores) == set(nodes(c.compiled.model))
    assert {node for node, member in c.labels.items() if member} == set(c.truth.nodes) - set(c.idle)
    off = [node for kind in c.negatives.values() for node in kind]
    assert sorted(n.name for n in off) == sorted(n.name for n, member in c.labels.items() if not member)
    assert set(c.silent) <= {node for node, member in c.labels.items() if member}


@pytest.mark.parametrize("index", INDICES[:4])
def test_idle_nodes_are_those_whose_variables_never_differ(index):
    """By the literal way: the program's values on both sequences of every pair, as `Compiled.values` gives them."""
    c = case(index)
    part, graph = c.task.part("discover"), c.compiled.graph
    clean, corrupt = (c.compiled.values(c.rows(ids)) for ids in (part.clean, part.corrupt))
    differs = {label for label in graph.labels
               if any(a != b[: len(a)] for a, b in zip(clean[label], corrupt[label]))}
    alive = {graph.labels[i] for i in graph.below(*graph.outputs)}
    active = {place.node for label, place in c.compiled.places.items()
              if label in differs and (label in alive or place.node not in c.truth.nodes)}
    assert set(c.idle) == set(c.truth.scores) - active


@pytest.mark.parametrize("index", INDICES)
def test_negatives_have_no_effect(index):
    c = case(index)
    model, part = c.compiled.model, c.task.part("discover")
    off = [node for kind in c.negatives.values() for node in kind]
    with torch.no_grad():
        out, held = model(part.clean), model.read(part.corrupt, sorted({node.site for node in off}))
        for node in off:
            for change in (Ablate(node.site, head=node.head), Patch(node.site, held[node.site], head=node.head)):
                with model.edit(change):
                    assert (model(part.clean) - out).abs().max() <= 20 * c.compiled.floor


@pytest.mark.parametrize("index", INDICES)
def test_the_model_answers_as_the_program_and_the_pairs_tell_it_apart(index):
    c = case(index)
    for ids, right in ((c.task.clean, 1.0), (c.task.corrupt, 0.0)):
        with torch.no_grad():
            assert (c.task.metric.accuracy(c.compiled.model(ids)) == right).all()
    rows, others = c.rows(c.task.clean), c.rows(c.task.corrupt)
    causal = c.compiled.graph.causal
    for row, other, at in list(zip(rows, others, c.task.prompts["position"]))[:12]:
        assert evaluate(c.program, row, causal)[at] != evaluate(c.program, other, causal)[at]
        assert at < len(row) <= len(other)
    assert len({len(row) for row in rows}) > 1 and any(len(a) < len(b) for a, b in zip(rows, others))
    assert all(len(c.task.part(part)) for part in ("discover", "select", "test"))


def answer(c, base, other, at, labels=()):
    """The program's answer on one sequence with some variables taken from the other."""
    graph, index = c.compiled.graph, {value: i for i, value in enumerate(c.compiled.graph.vocab)}
    ids, given = (np.array([[index[value] for value in row]]) for row in (base, other))
    put, own = {}, simulate(graph, ids)
    for label in labels:
        i, n = graph.labels.index(label), min(len(base), len(other))
        put[i] = own[i].copy()
        put[i][:, :n] = simulate(graph, given)[i][:, :n]
    return answers(graph, simulate_with(graph, ids, put))[0, at]


@pytest.mark.parametrize("trap, hidden", [("or", "clean"), ("backup", "clean"), ("and", "corrupt")])
def test_gates_hide_their_sides_from_one_direction(trap, hidden):
    """Taking one side from the other sequence changes nothing one way and all the other way; taking both always does.
    That is removing a side for OR and backups, restoring it for AND."""
    c = case(EXACT[trap])
    pairs = zip(c.rows(c.task.clean), c.rows(c.task.corrupt), c.task.prompts["position"])
    for clean, corrupt, at in list(pairs)[:16]:
        hiding, showing = ((clean, corrupt), (corrupt, clean))[:: 1 if hidden == "clean" else -1]
        first, second = answer(c, *hiding, at), answer(c, *showing, at)
        for side in (LEFT, RIGHT):
            assert answer(c, *hiding, at, [side]) == first
            assert answer(c, *showing, at, [side]) == first
        assert answer(c, *hiding, at, [LEFT, RIGHT]) == second != first


def test_gates_are_on_in_clean_and_off_in_corrupt_sequences():
    c = case(EXACT["or"])
    for ids, state in ((c.task.clean, True), (c.task.corrupt, False)):
        values = c.compiled.values(c.rows(ids))
        for label in (LEFT, RIGHT):
            assert {row[at] for row, at in zip(values[label], c.task.prompts["position"])} == {state}


def test_a_cancelling_pair_adds_nothing_together():
    c = case(EXACT["cancel"])
    _, (a, rows), (b, negated) = c.compiled.graph.out.tables
    np.testing.assert_array_equal(np.array(rows), -np.array(negated))
    values = c.compiled.values([*c.rows(c.task.clean), *c.rows(c.task.corrupt)])
    assert values[c.compiled.graph.labels[a]] == values[c.compiled.graph.labels[b]]


@given(seed=st.integers(0, 10**6), size=st.integers(1, 3), row=st.text("abc", min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_one_draw_over_copies_is_the_same_function_by_another_route(seed, size, row):
    at = leaves("abc", 4)
    first, second = (draw(np.random.default_rng(seed), of, size) for of in (at, copied(at)))
    def plain(value):
        return value[1] if isinstance(value, tuple) else value
    assert evaluate(first.sop, row) == [plain(value) for value in evaluate(second.sop, row)]
    assert [plain(v) for v in second.values] == list(first.values)
    assert set(evaluate(first.sop, row)) <= set(first.values)


def test_edges_are_labelled_by_the_compilers_graph():
    c = library_case("reverse", 0)
    edges = Graph(c.compiled.model).edges
    true, idle = c.edge_labels(edges)
    assert {e for e, t in zip(edges, true) if t} == set(c.truth.edges)
    head, length, opposite, last = (Node.from_label(label) for label in ("L0H0", "MLP0", "MLP1", "L2H0"))
    state = dict(zip(edges, idle))
    assert not state[Edge(head, length, None, "in")] and not state[Edge(opposite, last, None, "q")]
    # positions are the same in clean and corrupt, so nothing varies along their edges, true or not
    assert all(i for e, i in zip(edges, idle) if e.source == POSITIONS)
    assert not true[idle & np.array([e.source != POSITIONS for e in edges])].all()


def test_what_cannot_be_made_says_so():
    with pytest.raises(BadInput, match='no program is called "?\'?revers'):
        library_case("revers")
    base = random_base(np.random.default_rng(0), leaves("a", 2), causal=False)
    assert len(idle_programs(base, np.random.default_rng(0), 2)) == 2
