"""`interp models | show | fetch | runs | doctor`."""

import json

import pytest

from interp.garden.catalog import catalog
from interp.garden.fetch import REAL_MODELS
from interp.garden.loading import garden_groups, garden_names
from interp.garden.recipes.compared import RATES
from tests.cli.helpers import MODEL, interp


def test_models_lists_everything_that_can_be_loaded_or_built():
    found = json.loads(interp("models", "--json").stdout)
    assert [row["name"] for row in found["shipped"]] == garden_names()
    assert {row["name"] for row in found["real"]} == set(REAL_MODELS)
    assert [row["name"] for row in found["architecture"]] == [entry.name for entry in catalog()]
    text = interp("models").stdout
    assert all(name in text for name in (*garden_groups(), *REAL_MODELS))
    folded = [name.removeprefix(f"garden/{task}-") for task in RATES for name in garden_names() if f"/{task}-" in name]
    assert all(name in text for name in folded)
    assert "rxnmapper" not in interp("models", "--kind", "shipped").stdout


def test_models_of_an_unknown_kind_names_the_nearest():
    result = interp("models", "--kind", "shiped")
    assert result.exit_code == 1 and 'Did you mean "shipped"?' in result.stderr


def test_show_prints_an_architecture_as_equations():
    text = interp("show", "peri-ln").stdout
    assert "resid_mid = " in text and "blocks.{d}.attn.hook_pattern" in text


def test_show_prints_a_trained_model_with_what_is_shared():
    text = interp("show", "rxnmapper").stdout
    assert "depth 0-11 (one module, visited every time)" in text
    assert "resid_mid = LayerNorm(resid_pre + attn_out)" in text
    assert "blocks.{d}.attn.hook_z" in text and "8 heads" in text


def test_show_as_json_lists_every_site():
    import interp as package

    facts = json.loads(interp("show", MODEL, "--json").stdout)
    assert [site["name"] for site in facts["sites"]] == [site.name for site in package.load(MODEL).sites()]
    assert facts["depths"] == 2


@pytest.mark.parametrize(("args", "code", "message"), [
    (("show", "peri-nl"), 3, 'Did you mean "peri-ln"? It is an architecture'),
    (("show", "mamaba"), 3, 'Did you mean "mamba"?'),
    (("show", ""), 1, "'' is no model; give a name"),
    (("fetch", "minilm"), 1, 'Did you mean "minilm-l6"?'),
    (("show", "garden/induction-3l"), 3, 'Did you mean "garden/induction-2l"?'),
])
def test_unknown_models_name_the_nearest(args, code, message):
    result = interp(*args)
    assert result.exit_code == code and message in result.stderr and result.stdout == ""
    assert "Traceback" not in result.stderr


def test_fetch_of_the_embedded_model_has_nothing_to_do():
    found = json.loads(interp("fetch", "rxnmapper", "--json").stdout)
    assert found["fetched"][0]["was_here"] is True


def test_a_model_that_was_not_fetched_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    result = interp("discover", "ioi", "--model", "smollm2-135m", "--out", tmp_path / "run")
    assert result.exit_code == 3 and "interp fetch smollm2-135m" in result.stderr
    assert not (tmp_path / "run").exists()


def test_doctor_finds_nothing_wrong_here_and_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    result = interp("doctor", "--json")
    report = json.loads(result.stdout)
    wrong = [finding for finding in report["findings"] if finding["state"] == "wrong"]
    assert result.exit_code == 0 and report["ok"] and not wrong
    states = {finding["what"]: finding for finding in report["findings"]}
    assert states[MODEL]["state"] == "ok" and states["rxnmapper"]["state"] == "ok"
    assert states["minilm-l6"] | {"found": ""} == {
        "what": "minilm-l6", "state": "missing", "found": "", "to_do": "interp fetch minilm-l6 (84 MB)"}


def test_doctor_ends_with_1_where_the_cache_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "file" / "cache"))
    result = interp("doctor")
    assert result.exit_code == 1 and "INTERP_CACHE" in result.stdout


def test_runs_of_a_place_without_any(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no runs" in interp("runs").stdout
    assert json.loads(interp("runs", "--json").stdout) == {"folder": "runs", "runs": []}
    missing = interp("runs", "elsewhere")
    assert missing.exit_code == 1 and "elsewhere is not a folder" in missing.stderr


def _names(*options: str) -> set[str]:
    found = json.loads(interp("models", *options, "--json").stdout)
    assert set(found) == {"architecture"}
    return {row["name"] for row in found["architecture"]}


def test_architectures_are_chosen_by_what_they_are():
    assert _names("--paper", "62") == {"mamba"}
    assert "mamba" in _names("--family", "ssm") and "gpt" not in _names("--family", "ssm")
    assert {"gla", "mamba"} <= _names("--pattern", "implicit") and "gpt" not in _names("--pattern", "implicit")
    assert "sigmoid-attention" in _names("--pattern", "unnormalised")
    assert _names("--pattern", "softmax", "--modality", "encoder") < _names("--modality", "encoder")
    assert "gpt" in _names("--stream") and "gpt" not in _names("--no-stream")


def test_a_choice_that_nothing_fits_names_what_there_is():
    result = interp("models", "--family", "ssmm")
    assert result.exit_code == 1 and 'Did you mean "ssm"?' in result.stderr
    assert "187" in interp("models", "--paper", "1000").stderr
