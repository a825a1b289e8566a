"""`interp codebook` as a user types it."""

import json

import pytest

from interp.results import Run
from tests.cli.helpers import interp

TRAIN = ("codebook", "train", "--model", "garden/text-small", "--sites", "blocks.1.hook_mlp_out", "--codes", "24",
         "--k", "2", "--steps", "4", "--windows", "20", "--tokens", "24", "--replace-every", "2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("books") / "run"
    result = interp(*TRAIN, "--out", path, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["scores"]["loss"]["value"] > told["scores"]["loss without books"]["value"]
    assert told["sites"][0]["codes"] == 24 and (path / "codebooks.json").exists()
    assert not (path / "checkpoint.safetensors").exists()
    return path


def test_codes_shows_every_token_with_its_codes(folder):
    result = interp("codebook", "codes", folder, "peace with all nations", "--json")
    told = json.loads(result.stdout)
    assert "".join(told["tokens"]) == "peace with all nations"
    assert all(len(one) == len(told["tokens"]) for one in told["codes"].values())
    assert "blocks.1.hook_mlp_out" in interp("codebook", "codes", folder, "peace").stdout


def test_search_lists_codes_and_examples(folder, tmp_path):
    result = interp("codebook", "search", folder, "the", "--texts", "8", "--json")
    told = json.loads(result.stdout)
    assert told["codes"] and {"precision", "recall", "selected_precision"} <= set(told["codes"][0])
    assert "examples of the first" in interp("codebook", "search", folder, "the", "--texts", "8").stdout
    about = interp("codebook", "search", folder, "war", "--topic", "--texts", "24", "--index", tmp_path / "i", "--json")
    assert {"auc", "share", "other"} <= set(json.loads(about.stdout)["codes"][0])
    again = interp("codebook", "search", folder, "war", "--texts", "8", "--index", tmp_path / "i")
    assert again.exit_code == 1 and "other texts" in again.stderr
    texts = tmp_path / "texts.txt"
    texts.write_text("the war was long\n\nthe peace was short\n\nthe end\n\nthe beginning")
    assert interp("codebook", "search", folder, "the", "--file", texts, "--json").exit_code == 0
    near = interp("codebook", "search", folder, "--like", "blocks.1.hook_mlp_out:0:3", "--n", "4", "--texts", "4",
                  "--json")
    told = json.loads(near.stdout)
    assert told["like"] and len(told["codes"]) == 4 and 3 not in [row["code"] for row in told["codes"]]
    assert set(told["codes"][0]) == {"site", "group", "code", "cosine"}
    missing = interp("codebook", "search", folder, "zebra", "--file", texts)
    assert missing.exit_code == 1 and "marks 0 tokens" in missing.stderr and not missing.stdout


@pytest.mark.parametrize(("asked", "says"), [
    (("the", "--topic", "--by", "f1"), "leave --by out"), (("the", "--topic", "--by", "foo"), "'precision', 'f1'"),
    (("the", "--by", "foo"), "'precision', 'f1'"), ((), "give a REGEX, or --like"),
    (("the", "--like", "blocks.1.hook_mlp_out:0:3"), "give a REGEX, or --like"),
    (("--like", "blocks.1.hook_mlp_out:0:3", "--topic"), "leave --topic"), (("--like", "x"), "site, group, code"),
    (("--like", "blocks.1.hook_mlp_out:0:99"), "code 99 of group 0"),
])
def test_what_a_search_cannot_do_is_refused_before_texts_are_read(folder, tmp_path, asked, says):
    result = interp("codebook", "search", folder, *asked, "--index", tmp_path / "i")
    assert result.exit_code and says in result.stderr and not result.stdout and not (tmp_path / "i").exists()


def test_steer_writes_both_texts_and_says_how_fluent(folder, tmp_path):
    result = interp("codebook", "steer", folder, "The people", "--code", "blocks.1.hook_mlp_out:0:3", "--samples", "2",
                    "--length", "4", "--topic", "war", "--json")
    told = json.loads(result.stdout)
    assert [row["way"] for row in told["texts"]] == ["model"] * 2 + ["books"] * 2 + ["steered"] * 2
    assert all(row["perplexity"] > 1 for row in told["texts"]) and {"topic", "low"} < set(told["summary"][2])
    without = interp("codebook", "steer", folder, "The people", "--code", "blocks.1.hook_mlp_out:0:3", "--samples", "1",
                     "--length", "2", "--out", tmp_path / "kept")
    assert without.exit_code == 0 and "steered" in without.stdout
    kept = Run.open(tmp_path / "kept")
    assert (kept.command, kept.status) == ("steer", "done") and len(kept.table("steered_texts")) == 3
    wrong = interp("codebook", "steer", folder, "The people", "--code", "blocks.1.hook_mlp_out:3")
    assert wrong.exit_code == 1 and "site, group, code" in wrong.stderr


@pytest.mark.parametrize(("change", "says"), [
    (("--sites", "blocks.0.attn.hook_pattern"), "no feature axis"), (("--k", "25"), "k=25"),
    (("--sites", "blocks.9.hook_mlp_out"), "no site"),
])
def test_mistakes_are_one_line_and_nothing_is_written(tmp_path, change, says):
    arguments = [a for a in TRAIN if a not in ("blocks.1.hook_mlp_out", "--sites")] if change[0] == "--sites" else TRAIN
    result = interp(*arguments, *change, "--out", tmp_path / "run")
    last = result.stderr.strip().splitlines()[-1]
    assert result.exit_code == 1 and last.startswith("error: ") and says in last and not result.stdout
    assert not (tmp_path / "run").exists()


def test_a_folder_without_books_is_refused(tmp_path):
    result = interp("codebook", "codes", tmp_path, "text", "--model", "garden/text-small")
    assert result.exit_code == 1 and "no such file" in result.stderr
