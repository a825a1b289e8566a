import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.results import BadFile, BadInput, Circuit, Node, Run
from interp.results.node import ROLES, Edge

steady = settings(deadline=None, max_examples=60)  # a busy machine is not a failure

sites = st.sampled_from(
    [
        "hook_embed",
        "output",
        "blocks.0.attn.hook_z",
        "blocks.12.attn.hook_q",
        "blocks.3.hook_mlp_out",
        "blocks.3.hook_mixer_out",
        "encoder.blocks.2.attn.hook_z",
        "decoder.blocks.2.cross_attn.hook_z",
        "blocks.7.ssm.hook_dt",
        "stage.1.hook_in",
        "blocks.1.stream.left.hook_resid_post",
    ]
)
free_sites = st.text(
    st.characters(exclude_characters="[]@,*", exclude_categories=["Z", "C"]), min_size=1, max_size=30
)
indices = st.none() | st.integers(0, 10**6)
positions = st.none() | st.integers(-(10**6), 10**6)
roles = st.none() | st.sampled_from(ROLES)
nodes = st.builds(Node, sites | free_sites, indices, positions)
known_nodes = st.builds(Node, sites, indices, positions)
scores = st.dictionaries(nodes, st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=12)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=10)
    | st.floats(-1e300, 1e300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def circuits(draw):
    given_scores = draw(scores)
    k = draw(st.integers(0, len(given_scores)))
    ends = draw(st.lists(st.tuples(nodes, nodes, roles), max_size=4, unique=True))
    edges = [(*pair, draw(st.none() | st.floats(-10, 10)), role) for *pair, role in ends]
    provenance = draw(st.dictionaries(st.text(max_size=5), plain, max_size=3))
    texts = [draw(st.text(max_size=10)) for _ in range(3)]
    return Circuit(*texts, tuple(given_scores)[:k], given_scores, edges, provenance)


def example():
    found = {
        Node("blocks.0.attn.hook_z", head=1): 0.5,
        Node("blocks.1.hook_mlp_out"): -2.0,
        Node("hook_embed"): 0.1,
    }
    edges = [Edge(Node("hook_embed"), Node("blocks.0.attn.hook_z", head=1), 0.25)]
    return Circuit("tiny", "ioi", "ablation", tuple(found), found, edges, {"seed": 0})


@steady
@given(nodes)
def test_name_and_parse_are_inverse(node):
    assert Node.parse(node.name) == node


@steady
@given(known_nodes)
def test_label_of_the_vocabulary_reads_back(node):
    assert Node.from_label(node.label) == node


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("L3H5", "blocks.3.attn.hook_z[head=5]"),
        ("L3H5.q", "blocks.3.attn.hook_q[head=5]"),
        ("MLP3", "blocks.3.hook_mlp_out"),
        ("encoder.L0H1@-1", "encoder.blocks.0.attn.hook_z[head=1,pos=-1]"),
        ("decoder.L2.cross_attn.hook_z[head=3]", "decoder.blocks.2.cross_attn.hook_z[head=3]"),
    ],
)
def test_labels(label, name):
    assert Node.from_label(label).name == name
    assert Node.parse(name).label == label


@pytest.mark.parametrize(
    "text", ["", "a b", "blocks.*.hook_z", "x[head=-1]", "x[head=1", "x[pos=1,head=2]", "L3"]
)
def test_what_names_no_node_is_refused(text):
    with pytest.raises(BadInput):
        Node.from_label(text) if text == "L3" else Node.parse(text)


def test_node_takes_numpy_integers_and_refuses_other_numbers():
    assert Node("x", np.int64(3)) == Node("x", 3)
    for head in (True, 1.0, "1", -1):
        with pytest.raises(BadInput):
            Node("x", head)


@steady
@given(circuits())
def test_saved_circuit_reopens_identically(circuit):
    with tempfile.TemporaryDirectory() as folder:
        path = circuit.save(Path(folder) / "c.json")
        again = Circuit.load(path)
        assert again == circuit
        assert again.save(Path(folder) / "d.json").read_bytes() == path.read_bytes()


@steady
@given(circuits(), st.integers(0, 15))
def test_prune_keeps_the_strongest(circuit, k):
    small = circuit.prune(k)
    sizes = [abs(circuit.scores[node]) for node in circuit.nodes]
    assert sizes == sorted(sizes, reverse=True)
    assert small.nodes == circuit.nodes[:k] and small.scores == circuit.scores
    assert small.prune(k) == small and circuit.prune(len(circuit.nodes)) == circuit
    dropped = set(circuit.nodes) - set(small.nodes)
    assert all(not dropped & {edge.source, edge.target} for edge in small.edges)


@steady
@given(circuits())
def test_frame_and_figure_hold_every_node(circuit):
    frame = circuit.frame()
    assert list(frame["name"]) == [node.name for node in circuit.nodes]
    assert len(circuit.frame(candidates=True)) == len(circuit.scores)
    figure = circuit.figure()
    assert figure.layout.height > 0 and figure.to_json()


def test_figure_outlines_members_and_centres_zero():
    figure = example().prune(2).figure()
    grey, grid, outline = figure.data
    assert grid.zmin == -grid.zmax == -2.0
    assert sum(value is None for value in outline.x) == 2
    assert np.isfinite(grid.z).sum() == 3


@pytest.mark.parametrize(
    "change", [{"scores": {}}, {"scores": {Node("x"): float("nan")}, "nodes": ()}, {"model": 3}]
)
def test_inconsistent_circuits_are_refused(change):
    fields = {"model": "m", "task": "t", "method": "a", "nodes": (Node("x"),), "scores": {Node("x"): 1.0}}
    with pytest.raises(BadInput):
        Circuit(**fields | change)
    with pytest.raises(BadInput, match="twice"):
        Circuit(**fields | {"nodes": (Node("x"), Node("x"))})
    with pytest.raises(BadInput, match="provenance"):
        Circuit(**fields, provenance={"loss": float("nan")})


def test_edges_of_two_roles_are_two_edges_and_an_edge_is_named_once(tmp_path):
    source, target = Node("hook_embed"), Node("blocks.0.attn.hook_z", head=1)
    edges = [Edge(source, target, None, role) for role in (None, *ROLES)]
    circuit = Circuit("m", "t", "a", (target,), {target: 1.0}, edges)
    assert Circuit.load(circuit.save(tmp_path / "c.json")).edges == tuple(edges)
    assert edges[1].name == "hook_embed -> blocks.0.attn.hook_z[head=1] (q)"
    with pytest.raises(BadInput, match="same edge twice"):
        Circuit("m", "t", "a", (target,), {target: 1.0}, [edges[1], edges[1]])
    with pytest.raises(BadInput, match="role"):
        Circuit("m", "t", "a", (target,), {target: 1.0}, [Edge(source, target, None, "query")])


def test_a_file_written_before_edges_had_roles_still_loads(tmp_path):
    (tmp_path / "old.json").write_text(example_text())
    assert "(" not in next(iter(json.loads(example_text())["edges"]))
    assert Circuit.load(tmp_path / "old.json").edges[0].role is None


@pytest.mark.parametrize("name", ["a", "a -> b (x)", "a -> b -> c", "a -> b (q) "])
def test_what_names_no_edge_is_refused(name):
    with pytest.raises(BadInput):
        Edge.parse(name)


def damaged():
    good = json.loads(example_text())
    yield "empty", ""
    yield "cut", example_text()[:-40]
    yield "list", "[]"
    yield "deep", "[" * 100_000
    yield "foreign", '{"a": 1}'
    yield "other kind", json.dumps(good | {"schema": "interp.run/1"})
    yield "later version", json.dumps(good | {"schema": "interp.circuit/99"})
    yield "nan", example_text().replace("0.5", "NaN")
    yield "infinite", example_text().replace("0.5", "1e999")
    yield "huge integer", example_text().replace("0.5", "1" + "0" * 400)
    yield "true as score", example_text().replace("0.5", "true")
    yield "text as score", example_text().replace("0.5", '"0.5"')
    yield "key twice", example_text().replace('"task": "ioi"', '"task": "ioi", "task": "ioi"')
    yield "unknown field", json.dumps(good | {"code": "import os"})
    yield "missing field", json.dumps({key: value for key, value in good.items() if key != "edges"})
    yield "bad node", json.dumps(good | {"nodes": {"a b": 1.0}})
    yield "bad edge", json.dumps(good | {"edges": {"a": 1.0}})
    yield "member and candidate", json.dumps(good | {"candidates": good["nodes"]})
    yield "lone surrogate", json.dumps(good | {"provenance": {"x": "\ud800"}})


def example_text():
    with tempfile.TemporaryDirectory() as folder:
        return example().save(Path(folder) / "c.json").read_text()


@pytest.mark.parametrize(
    ("kind", "text"), list(damaged()), ids=lambda value: value if len(value) < 25 else ""
)
def test_damaged_files_are_named_as_such(kind, text, tmp_path):
    path = tmp_path / "circuit.json"
    path.write_text(text)
    with pytest.raises(BadFile, match="circuit.json"):
        Circuit.load(path)


def test_binary_absent_and_folder_paths_are_bad_files(tmp_path):
    (tmp_path / "b.json").write_bytes(b"\x80\x02}q\x00.")  # a pickle
    for path in (tmp_path / "b.json", tmp_path / "none.json", tmp_path):
        with pytest.raises(BadFile):
            Circuit.load(path)


def test_circuit_saves_into_a_run(tmp_path):
    with Run.create(tmp_path / "run", "discover", {}, 0) as run:
        path = example().save(run)
    assert Circuit.load(path) == example()
    assert list(Run.open(tmp_path / "run").table("circuit")["label"]) == ["MLP1", "L0H1", "hook_embed"]
    assert run.figure("circuit").layout.height == example().figure().layout.height
