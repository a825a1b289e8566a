"""What circuits have in common: cases solved by hand, and chance against every choice there is."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from interp.discovery import compare
from interp.discovery.depth_mass import BINS, depth_mass, mass_overlap
from interp.discovery.overlap import DEPTH, SIZE, jaccard, overlap, rank_correlation, spearman
from interp.results import BadFile, BadInput, Circuit, Edge, Node, Run


def head(depth, h, pos=None):
    return Node(f"blocks.{depth}.attn.hook_z", head=h, pos=pos)


def mlp(depth):
    return Node(f"blocks.{depth}.hook_mlp_out")


HEADS = [head(d, h) for d in range(2) for h in range(4)]


def circuit(members, scores, model="m", task="t", method="auto", **more):
    return Circuit(model, task, method, tuple(members), scores, **more)


def row(comparison, statistic, null=None):
    frame = comparison.frame()
    chosen = frame[frame["statistic"] == statistic]
    chosen = chosen if null is None else chosen[chosen["null"] == null]
    assert len(chosen) == 1
    return chosen.iloc[0]


# Members


def test_overlap_by_hand():
    a, b = [head(0, 0), head(1, 1)], [head(0, 0), head(1, 2)]
    matched = overlap(a, b, HEADS, DEPTH)
    # one of four at each depth: in common 2 with 1/16, 1 with 6/16
    assert matched.both == 1 and matched.jaccard == pytest.approx(1 / 3)
    assert matched.expected == pytest.approx(1 / 16 * 1 + 6 / 16 / 3) and matched.p == pytest.approx(7 / 16)
    anywhere = overlap(a, b, HEADS, SIZE)
    # two of eight: C(8, 2) = 28 choices, one has both, 2 * 6 have one
    assert anywhere.p == pytest.approx(13 / 28) and anywhere.expected == pytest.approx(1 / 28 + 12 / 28 / 3)


UNIVERSE = [*HEADS, mlp(0), mlp(1), mlp(2)]


def every_choice_like(b, null):
    """All choices of as many nodes, or of as many heads at each depth and as many MLPs: the slow oracle."""
    if null == SIZE:
        return [set(c) for c in combinations(UNIVERSE, len(b))]
    pools = [HEADS[:4], HEADS[4:], UNIVERSE[8:]]
    parts = [combinations(pool, len(set(pool) & b)) for pool in pools]
    return [set().union(*choice) for choice in product(*parts)]


@given(a=st.sets(st.sampled_from(UNIVERSE), max_size=6), b=st.sets(st.sampled_from(UNIVERSE), min_size=1, max_size=4))
@pytest.mark.parametrize("null", [DEPTH, SIZE])
def test_chance_is_that_of_every_choice(null, a, b):
    found = overlap(a, b, UNIVERSE, null)
    every = every_choice_like(b, null)
    assert found.expected == pytest.approx(np.mean([len(a & c) / len(a | c) for c in every]))
    assert found.p == pytest.approx(np.mean([len(a & c) >= len(a & b) for c in every]))
    assert 0 < found.p <= 1 and found.jaccard == jaccard(a, b) == jaccard(b, a)


def test_empty_circuits_have_no_overlap_to_speak_of():
    found = overlap([], [], HEADS)
    assert np.isnan(found.jaccard) and np.isnan(found.expected) and found.p == 1
    with pytest.raises(BadInput, match="not among the candidates"):
        overlap([head(5, 0)], [], HEADS)


# Scores


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=30))
def test_rank_correlation_is_scipys(pairs):
    x, y = np.array(pairs, float).T
    value = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(spearmanr(x, y).statistic)


def test_rank_correlation_has_an_interval_that_narrows_with_nodes():
    generator = np.random.default_rng(0)

    def width(n):
        x = generator.standard_normal(n)
        found = rank_correlation(x, x + generator.standard_normal(n), "nodes")
        assert found.low <= found.value <= found.high and found.n == n
        return found.high - found.low

    assert width(400) < width(25)
    assert np.isnan(rank_correlation([1.0, 2.0], [1.0, 2.0], "nodes"))


# Depth


def test_depth_mass_by_hand():
    one = depth_mass(circuit([], {head(0, 0): -2.0, head(1, 0): 1.0, mlp(1): 1.0}))
    assert set(one) == {"head", "MLP"}
    assert np.allclose(one["head"], [0.5 / 6] * 6 + [0.25 / 6] * 6)
    assert np.allclose(one["MLP"], [0] * 6 + [0.25 / 6] * 6)
    assert sum(row.sum() for row in one.values()) == pytest.approx(1)


def test_depth_mass_does_not_know_the_number_of_layers():
    shallow = depth_mass(circuit([], {head(0, 0): 3.0}))
    deep = depth_mass(circuit([], {head(d, 0): 1.0 for d in range(8)}))
    assert len(shallow["head"]) == BINS and mass_overlap(shallow, deep) == pytest.approx(1)
    # the middle of three layers, and the first of two, share [1/3, 1/2], at densities of 3 and 2
    middle = depth_mass(circuit([], {head(0, 0): 0.0, head(1, 0): 1.0, head(2, 0): 0.0}))
    first = depth_mass(circuit([], {head(0, 0): 1.0, head(1, 0): 0.0}))
    assert mass_overlap(middle, first) == pytest.approx(1 / 3)
    last = depth_mass(circuit([], {head(0, 0): 0.0, head(1, 0): 1.0}))
    assert mass_overlap(first, last) == 0 and mass_overlap(first, depth_mass(circuit([], {mlp(0): 1.0}))) == 0


# Pairs


def test_a_circuit_has_everything_in_common_with_itself():
    scores = {node: float(i) for i, node in enumerate(UNIVERSE)}
    one = circuit(UNIVERSE[-3:], scores, edges=[(head(0, 0), head(1, 0), 2.0), (head(0, 1), head(1, 0), 1.0)],
                  candidate_edges=[(head(0, 2), head(1, 0), 0.5)])
    frame = compare(one, one).frame()
    assert set(frame["value"]) == {1.0} and len(frame) == 7


def test_compare_by_hand():
    a = circuit(HEADS[:2], {node: 8.0 - i for i, node in enumerate(HEADS)})
    b = circuit(HEADS[1:4], {node: float(i) for i, node in enumerate(HEADS)}, method="tangent")
    found = compare(a, b)
    members = row(found, "nodes in common (Jaccard)", DEPTH)
    assert members["value"] == 1 / 4 and members["n"] == 8 and members["note"] == "1 in both, 2 and 3"
    assert members["p"] == 1  # three of four at one depth always hold one of two
    assert row(found, "rank correlation of scores, nodes")["value"] == pytest.approx(-1)
    nodes = found.nodes()
    assert dict(zip(nodes["label"], nodes["member"])) == {
        "L0H0": "A only", "L0H1": "both", "L0H2": "B only", "L0H3": "B only", **{f"L1H{h}": "" for h in range(4)}
    }
    assert list(found.evidence()["method"]) == ["auto", "tangent"]


def test_candidates_of_either_are_what_chance_chooses_from():
    a, b = circuit(HEADS[:1], {HEADS[0]: 1.0}), circuit(HEADS[:1], dict.fromkeys(HEADS, 1.0))
    found = compare(a, b)
    assert row(found, "nodes in common (Jaccard)", SIZE)["p"] == 1 / 8
    correlation = row(found, "rank correlation of scores, nodes")
    assert correlation["n"] == 1 and np.isnan(correlation["value"]) and "too few" in correlation["note"]


def test_positions_are_folded_where_only_one_side_has_them():
    split = circuit([head(0, 0, -1)], {head(0, 0, -1): -3.0, head(0, 0, -2): 1.0, head(0, 1, -1): 0.5})
    whole = circuit([head(0, 0)], {head(0, 0): 2.0, head(0, 1): 1.0})
    found = compare(split, whole)
    assert row(found, "nodes in common (Jaccard)", SIZE)["value"] == 1
    assert list(found.nodes()["score_a"]) == [-3.0, 0.5]
    assert compare(split, split).nodes()["label"].tolist() == ["L0H0@-1", "L0H0@-2", "L0H1@-1"]


def test_edges_by_hand():
    ends = [(head(0, h), head(1, 0)) for h in range(4)]
    a = circuit([head(1, 0)], {head(1, 0): 1.0}, edges=[(*ends[0], 4.0, "q"), (*ends[1], 3.0, "k")],
                candidate_edges=[(*ends[2], 2.0, "v"), (*ends[3], 1.0, "q")])
    b = circuit([head(1, 0)], {head(1, 0): 1.0}, edges=[(*ends[0], 9.0)],
                candidate_edges=[(*ends[1], 8.0), (*ends[2], 1.0), (*ends[3], 2.0)])
    found = compare(a, b)
    edges = row(found, "edges in common (Jaccard)", SIZE)
    assert edges["value"] == 1 / 2 and edges["n"] == 4 and edges["p"] == pytest.approx(1 / 2)
    assert row(found, "rank correlation of scores, edges")["value"] == pytest.approx(0.8)
    # heads that only edges name are candidates: four at depth 0 and one at depth 1
    assert row(found, "nodes in common (Jaccard)", SIZE)["n"] == 5
    bare = circuit([head(1, 0)], {head(1, 0): 1.0}, edges=[(*ends[0], 9.0)])
    alone = row(compare(a, bare), "edges in common (Jaccard)")
    assert alone["value"] == 1 / 2 and np.isnan(alone["p"]) and "no chance level" in alone["note"]


def test_roles_count_where_both_sides_tell_them_apart():
    def of(role):
        return circuit([head(1, 0)], {head(1, 0): 1.0}, edges=[Edge(head(0, 0), head(1, 0), 1.0, role)])

    values = [row(compare(of("q"), of(other)), "edges in common (Jaccard)")["value"] for other in ("q", "k", None)]
    assert values == [1, 0, 1]


def test_models_of_other_nodes_are_compared_by_depth_alone():
    small = circuit([head(0, 0)], {head(0, 0): 1.0, mlp(0): 1.0}, model="small")
    large = circuit([head(1, 5)], {head(0, 5): 1.0, head(1, 5): 1.0}, model="large")
    found = compare(small, large)
    assert found.frame()["statistic"].tolist() == ["depth profile in common"]
    profile = found.frame().iloc[0]
    assert profile["value"] == pytest.approx(0.5) and "cannot be matched" in profile["note"] and not found.matched()
    with pytest.raises(BadInput, match="cannot be matched"):
        found.nodes()
    assert "relative depth" in found.figure().layout.xaxis.title.text


def test_models_of_the_same_nodes_are_matched_by_name_and_told_what_that_is_worth():
    a, b = (circuit(HEADS[:1], dict.fromkeys(HEADS, 1.0), model=model) for model in ("early", "late"))
    assert "trained apart" in row(compare(a, b), "nodes in common (Jaccard)", SIZE)["note"]


def test_a_profile_of_nothing_is_not_a_number_but_a_reason():
    zero = circuit([], dict.fromkeys(HEADS, 0.0))
    found = row(compare(zero, zero), "depth profile in common")
    assert np.isnan(found["value"]) and "every score" in found["note"]


def test_what_the_depth_profile_has_by_chance():
    here = circuit([], {head(d, h): float(d == 0) for d in range(12) for h in range(4)})
    there = circuit([], {head(d, h): float(d == 11) for d in range(12) for h in range(4)})
    same, other = (row(compare(here, c), "depth profile in common") for c in (here, there))
    assert same["value"] == 1 and same["p"] < 0.01 and same["expected"] < 0.6
    assert other["value"] == 0 and other["p"] == 1


# Figures and files


def test_figure_shows_differences_and_who_has_what():
    a = circuit(HEADS[:2], dict.fromkeys(HEADS, 1.0), provenance={"unit": "logits"})
    b = circuit(HEADS[1:4], {**dict.fromkeys(HEADS, 0.5), mlp(1): 3.0}, provenance={"unit": "logits"})
    figure = compare(a, b).figure()
    grid = np.array(figure.data[0].z, float)
    assert grid.shape == (2, 5) and np.allclose(grid[:, :4], 0.5) and np.isnan(grid[:, 4]).all()
    assert [trace.name for trace in figure.data[1:]] == ["in both (1)", "in A only (1)", "in B only (2)"]
    # scores in other units are shares of their total
    shares = compare(a, circuit([], dict.fromkeys(HEADS, 7.0), provenance={"unit": "nats"})).figure().data[0]
    assert np.allclose(np.array(shares.z, float), 0) and "share" in shares.colorbar.title.text


def test_evidence_is_read_from_where_it_lies(tmp_path):
    one = circuit(HEADS[:2], dict.fromkeys(HEADS, 1.0))
    said = {"faithfulness": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 12, "unit": "prompts", "method": "bootstrap"},
            "random_p": {DEPTH: 0.25, SIZE: 0.02}}
    kept = circuit(HEADS[:2], dict.fromkeys(HEADS, 1.0), provenance={"evaluation": said})
    with Run.create(tmp_path / "run", "discover", {}, 0) as run:
        one.save(run)
        run.record(**said)
    one.save(tmp_path / "bare.json")
    found = compare(tmp_path / "run", tmp_path / "run" / "circuit.json", tmp_path / "bare.json", kept).evidence()
    assert found["faithfulness"].tolist()[:2] == [0.9, 0.9] and found["faithfulness"][3] == 0.9
    assert np.isnan(found["faithfulness"][2]) and found["p_same_size_and_depths"].tolist()[:2] == [0.25, 0.25]
    assert found["name"].tolist() == ["A", "B", "C", "D"]


def test_save_leaves_tables_and_a_figure_for_every_pair(tmp_path):
    a, b = circuit(HEADS[:2], dict.fromkeys(HEADS, 1.0)), circuit(HEADS[:1], dict.fromkeys(HEADS, 2.0))
    other = circuit([mlp(0)], {mlp(0): 1.0}, model="other")
    with Run.create(tmp_path / "run", "compare", {}, 0) as run:
        compare(a, b, other).save(run)
    assert len(run.table("comparison")) == 4 + 1 + 1 and len(run.table("circuits")) == 3
    assert len(run.table("nodes-A-B")) == 8 and run.figure("difference-A-C").data
    with pytest.raises(BadFile):
        run.table("nodes-A-C")


def test_bad_input_names_what_is_wrong(tmp_path):
    with pytest.raises(BadInput, match="two circuits or more"):
        compare(circuit([], {}))
    with pytest.raises(BadFile, match="no such file"):
        compare(tmp_path / "none.json", tmp_path / "neither.json")
