"""`interp compare`: files and folders in, tables, figures and a report out."""

import json

import pytest

from interp.results import Circuit, Node, Run
from tests.cli.helpers import interp

HEADS = [Node(f"blocks.{d}.attn.hook_z", head=h) for d in range(2) for h in range(4)]


@pytest.fixture
def files(tmp_path):
    """Three circuits in files: two of one model, one of another."""
    scores = {node: 8.0 - i for i, node in enumerate(HEADS)}
    other = Node("blocks.0.hook_mlp_out")
    given = [
        Circuit("m", "t", "auto", tuple(HEADS[:3]), scores), Circuit("m", "t", "tangent", tuple(HEADS[1:3]), scores),
        Circuit("other", "t", "auto", (other,), {other: 1.0}),
    ]
    paths = [tmp_path / f"{i}.json" for i in range(3)]
    for circuit, path in zip(given, paths):
        circuit.save(path)
    return paths


def test_compare_prints_every_pair_and_leaves_a_run(files, tmp_path):
    result = interp("compare", *files, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    for text in ("A and B", "A and C", "2 in both, 3 and 2", "cannot be matched", "report.html", str(files[2])):
        assert text in result.stdout
    run = Run.open(tmp_path / "run")
    assert run.status == "done" and run.config["circuits"] == [str(path) for path in files]
    assert len(run.table("comparison")) == 6 and run.figure("difference-B-C").data
    assert "Where the scores of A and C lie" in (tmp_path / "run" / "report.html").read_text()


def test_compare_as_json_is_one_object(files, tmp_path):
    printed = json.loads(interp("compare", *files[:2], "--out", tmp_path / "run", "--json").stdout)
    assert [circuit["method"] for circuit in printed["circuits"]] == ["auto", "tangent"]
    values = {pair["statistic"]: pair["value"] for pair in printed["pairs"]}
    assert values["nodes in common (Jaccard)"] == pytest.approx(2 / 3)
    assert values["rank correlation of scores, nodes"] == pytest.approx(1)


@pytest.mark.parametrize(("names", "message"), [
    (["0.json"], "two circuits or more"),
    (["0.json", "none.json"], "no such file"),
    (["0.json", "bad.json"], "damaged"),
])
def test_bad_input_is_one_line_and_leaves_nothing(files, tmp_path, names, message):
    (tmp_path / "bad.json").write_text("{")
    result = interp("compare", *(tmp_path / name for name in names), "--out", tmp_path / "run")
    assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1
    assert result.stdout == "" and not (tmp_path / "run").exists()
