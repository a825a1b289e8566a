"""Rankings against a known truth: sklearn as the oracle, and cases by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from interp.discovery.truth import (
    against_truth,
    auroc,
    average_precision,
    edge_labels,
    f1,
    over_programs,
    precision_at_size,
    ranking,
)
from interp.results import BadInput, Circuit, Node
from interp.results.node import Edge

A, B, C, D = (Node("blocks.0.attn.hook_z", head=h) for h in range(4))
OUT = Node("output")
# few different scores, so that ties are common
ranked = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 2.0])), min_size=2, max_size=9).filter(
    lambda rows: len({label for label, _ in rows}) == 2)


@given(ranked)
def test_areas_are_those_of_sklearn(rows):
    label, score = zip(*rows)
    assert average_precision(label, score) == pytest.approx(average_precision_score(label, score))
    assert auroc(label, score) == pytest.approx(roc_auc_score(label, score))


@given(ranked.filter(lambda rows: len(rows) <= 6))
def test_precision_at_size_is_its_mean_over_all_ways_to_break_ties(rows):
    wanted = []
    for order in itertools.permutations(rows):
        top = sorted(order, key=lambda row: -row[1])[: sum(label for label, _ in rows)]
        wanted.append(np.mean([label for label, _ in top]))
    assert precision_at_size(*zip(*rows)) == pytest.approx(np.mean(wanted))


@given(ranked)
def test_signs_and_scale_do_not_matter(rows):
    label, score = zip(*rows)
    assert ranking(label, score) == ranking(label, [-3 * s for s in score])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_f1_is_that_of_sklearn(rows):
    label, member = zip(*rows)
    assert f1(label, member) == pytest.approx(f1_score(label, member, zero_division=0))


def test_rankings_by_hand():
    # + - + -: precision 1 at the first of two, 2/3 at the second; pairs in order 3 of 4
    assert ranking([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx(
        {"AUPRC": (1 + 2 / 3) / 2, "precision at size": 0.5, "AUROC": 0.75})
    # nothing said: chance, whatever the order of the rows
    assert ranking([1, 0, 0, 0], [0, 0, 0, 0]) == pytest.approx(
        {"AUPRC": 0.25, "precision at size": 0.25, "AUROC": 0.5})
    # the sweep goes from (0, 0) to (1, 1) even where the best threshold takes all but one: no area is left out
    assert auroc([0, 1, 1], [1, 0, 0]) == 0.0


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(BadInput, match="all or none"):
        ranking([1, 1], [1, 2])
    with pytest.raises(BadInput, match="one finite score for every label"):
        ranking([1, 0], [1, float("nan")])
    with pytest.raises(BadInput, match="one finite score for every label"):
        ranking([1, 0], [1])


def circuit(nodes=(A, B), scores=None, edges=()):
    return Circuit("m", "t", "x", nodes, scores or dict.fromkeys((A, B, C, D), 1.0), edges)


def test_idle_nodes_are_left_out():
    scores = {A: 3.0, B: 0.0, C: 1.0, D: 2.0}
    found = circuit((A, D), scores)
    # A of {A, B}: + - - +, and without the idle B: + - -
    assert against_truth(found, circuit())["AUPRC"] == pytest.approx((1 + 2 / 4) / 2)
    assert against_truth(found, circuit(), idle=[B]) == pytest.approx(
        {"AUPRC": 1, "precision at size": 1, "AUROC": 1, "F1": 2 / 3})


def test_edges_are_compared_by_ends_and_role():
    true = circuit(edges=[(A, B, None, "q"), (B, OUT, None, "in")])
    mine = circuit(edges=[(A, B, 0.7, "k"), (B, OUT, 0.2, "in")])
    assert against_truth(circuit(scores={A: 1, B: 1, C: 1, D: 1}, edges=mine.edges), true)["edge F1"] == 0.5
    assert "edge F1" not in against_truth(circuit(), true)
    every = [Edge(A, B, None, role) for role in "qkv"] + [Edge(B, OUT, 3.0, "in"), Edge(A, OUT, None, "in")]
    assert edge_labels(every, true).tolist() == [True, False, False, True, False]
    with pytest.raises(BadInput, match=r"output, |output \(in\), which is not among the edges"):
        edge_labels(every[:3], true)


def test_intervals_are_over_programs():
    values, programs = [0.0, 0.0, 1.0, 1.0] * 10, [f"{i // 2}" for i in range(40)]
    e, each = over_programs(values, programs), over_programs(values, range(40))
    assert (e.value, e.n, e.unit) == (0.5, 20, "programs")
    assert e.high - e.low > 1.2 * (each.high - each.low)
