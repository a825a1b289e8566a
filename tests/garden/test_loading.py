"""Saving and loading: what comes back is what was saved, bit for bit, and what is damaged or foreign is refused."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from interp import adapters
from interp.garden.catalog import build, catalog
from interp.garden.loading import garden_names, load
from interp.hooks.files import FACTS, WEIGHTS, read_model_files, save_model
from interp.results.errors import BadFile, BadInput, InterpError, ModelMissing
from tests.adapters.tiny import CASES

ENTRIES = {entry.name: entry for entry in catalog()}
SIZES = dict(d_model=32, n_layers=2, d_vocab=50, n_ctx=16)
TOKENS = torch.arange(14).view(2, 7)


def _same(a, b) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return list(first) == list(second) and all(
        torch.equal(first[key], second[key]) and first[key].dtype == second[key].dtype for key in first
    )


def _run(model, x):
    with torch.no_grad():
        return model(x)


def _saved(folder: Path, name: str = "gpt"):
    model = build(name, seed=3, **{size: value for size, value in SIZES.items() if size in ENTRIES[name].sizes})
    model.save(folder)
    return model


def _rewrite(folder: Path, **changes) -> None:
    """Change entries of the JSON, the hash kept right where only weights were changed."""
    facts = json.loads((folder / FACTS).read_text())
    facts["sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / FACTS).write_text(json.dumps(facts | changes))


# -- what comes back -------------------------------------------------------------------------------------------------


def test_a_model_of_another_place_is_pointed_to():
    with pytest.raises(ModelMissing, match="'smollm2-135m' alone is a model"):
        load("garden/smollm2-135m")
    with pytest.raises(ModelMissing, match='Did you mean "garden/induction-2l"'):
        load("garden/induction-2")


@pytest.mark.parametrize("name", ENTRIES)
def test_a_catalog_model_comes_back(name, tmp_path):
    model = _saved(tmp_path / "m", name)
    before = torch.get_rng_state()
    again = load(tmp_path / "m")
    assert torch.equal(before, torch.get_rng_state())
    x = ENTRIES[name].example(model)
    assert _same(model, again) and torch.equal(_run(model, x), _run(again, x))
    assert again.name == name and again.recipe == model.recipe and not again.module.training
    assert [s.name for s in again.sites()] == [s.name for s in model.sites()]


@pytest.mark.parametrize("family", [name for name in sorted(CASES) if not name.startswith("timm")])
def test_a_library_model_comes_back(family, tmp_path):
    model, x = CASES[family].hooked()
    model.save(tmp_path)
    before = torch.get_rng_state()
    again = load(tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert _same(model, again) and torch.equal(_run(model, x), _run(again, x))
    assert len(list(again.parameters())) == len(list(model.parameters()))


def test_shared_weights_are_saved_once_and_stay_shared(tmp_path):
    model = _saved(tmp_path, "looped")
    stored = load_file(tmp_path / WEIGHTS)
    assert sum(t.numel() for t in stored.values()) == sum(p.numel() for p in model.parameters())
    assert json.loads((tmp_path / FACTS).read_text())["ties"] == {"unembed.weight": "embed.weight"}
    again = load(tmp_path)
    assert again.module.unembed.weight is again.module.embed.weight


def test_ties_made_by_hand_and_ties_cut_by_hand_come_back(tmp_path):
    tied = build("attn-only", seed=0, **SIZES)
    tied.module.blocks[1].attn.q.weight = tied.module.blocks[0].attn.q.weight
    tied.save(tmp_path / "tied")
    again = load(tmp_path / "tied").module
    assert again.blocks[1].attn.q.weight is again.blocks[0].attn.q.weight
    cut = build("gpt", seed=0, **SIZES)
    cut.module.unembed.weight = torch.nn.Parameter(cut.module.embed.weight.detach() + 1)
    cut.save(tmp_path / "cut")
    assert _same(cut, load(tmp_path / "cut"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_types_come_back(dtype, tmp_path):
    module = CASES["llama"].module().to(dtype)
    model = adapters.hook(module)
    model.save(tmp_path)
    again = load(tmp_path)
    assert _same(model, again)
    buffers = {name: b.dtype for name, b in module.named_buffers()}
    assert buffers == {name: b.dtype for name, b in again.module.named_buffers()} and dtype in buffers.values()


def test_a_tokenizer_comes_back(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "cat": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model = build("gpt", **SIZES)
    model.tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    model.save(tmp_path)
    assert load(tmp_path).tokenizer.encode("a cat") == [1, 2]


def test_saving_again_replaces_and_leaves_other_files_alone(tmp_path):
    _saved(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    other = build("alibi", seed=9, **SIZES)
    other.save(tmp_path)
    assert _same(load(tmp_path), other) and (tmp_path / "README.md").read_text() == "mine"


def test_extra_facts_are_kept(tmp_path):
    save_model(build("gpt", **SIZES), tmp_path, extra={"training": {"seed": 4}})
    assert read_model_files(tmp_path).extra == {"training": {"seed": 4}}


def test_a_hugging_face_directory_is_read(tmp_path):
    module = CASES["gpt2"].module()
    module.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert _same(adapters.hook(module), model) and model.name == tmp_path.name


def test_the_embedded_real_model_loads():
    model = load("rxnmapper")
    assert model.n_layers == 12 and model.tokenizer is not None


# -- what is refused -------------------------------------------------------------------------------------------------


def _truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def _other_weights(folder: Path) -> None:
    build("gpt", seed=8, **SIZES).save(folder / "other")
    (folder / "other" / WEIGHTS).replace(folder / WEIGHTS)


def _no_safetensors(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"not at all")
    _rewrite(folder)


def _less(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors.pop("ln_final.bias")
    save_file(tensors, folder / WEIGHTS)
    _rewrite(folder)


def _wider(folder: Path) -> None:
    facts = json.loads((folder / FACTS).read_text())
    facts["recipe"]["sizes"]["d_model"] = 64
    _rewrite(folder, recipe=facts["recipe"])


def _recipe(**recipe):
    return lambda folder: _rewrite(folder, recipe=recipe)


DAMAGES = {
    "truncated": (_truncate, "damaged or replaced"),
    "of another model": (_other_weights, "damaged or replaced"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "cannot be read"),
    "no safetensors": (_no_safetensors, "not a safetensors file"),
    "a weight missing": (_less, "do not fit"),
    "another size": (_wider, "do not fit"),
    "no json": (lambda folder: (folder / FACTS).write_text("{"), "not valid JSON"),
    "another schema": (lambda folder: _rewrite(folder, schema="interp.model/99"), "this version of interp reads"),
    "another kind": (lambda folder: _rewrite(folder, schema="interp.circuit/1"), "not a file of this kind"),
    "no recipe": (lambda folder: _rewrite(folder, recipe=None), "its recipe is from None"),
    "unknown source": (_recipe(source="pickle"), "its recipe is from 'pickle'"),
    "unknown architecture": (_recipe(source="catalog", name="gtp", sizes={}), 'Did you mean "gpt"'),
    "strange sizes": (_recipe(source="catalog", name="gpt", sizes={"d_model": "x"}), "cannot be followed"),
    "a class that is no model": (_recipe(source="transformers", **{"class": "Trainer"}, config={}), "no model class"),
    "a dotted class": (_recipe(source="transformers", **{"class": "os.system"}, config={}), "no model class"),
    "kernels from a hub": (_recipe(source="transformers", **{"class": "GPT2Model"},
                                   config={"_attn_implementation": "someone/kernel"}), "which are code"),
    "a checkpoint for timm": (_recipe(source="timm", architecture="vit_tiny_patch16_224",
                                      arguments={"checkpoint_path": "x.pth"}), "passes checkpoint_path"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_directory_is_refused(damage, tmp_path):
    _saved(tmp_path)
    change, message = DAMAGES[damage]
    change(tmp_path)
    with pytest.raises(BadFile) as caught:
        load(tmp_path)
    assert message in str(caught.value)


def test_nan_weights_are_refused(tmp_path):
    model = build("gpt", **SIZES)
    with torch.no_grad():
        model.module.blocks[1].attn.q.weight[0, 0] = float("nan")
    model.save(tmp_path)
    with pytest.raises(BadInput, match=r"blocks\.1\.attn\.q\.weight"):
        load(tmp_path)


def test_a_foreign_module_is_not_saved(tmp_path):
    model = build("gpt", **SIZES)
    for recipe in (None, {"source": "torch"}, {"source": "timm", "architecture": None}):
        model.recipe = recipe
        with pytest.raises(BadInput, match="foreign module"):
            model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_an_interrupted_save_is_never_read_as_something_else(tmp_path, monkeypatch):
    _saved(tmp_path)
    from interp.hooks import files

    write = files.atomic_write

    def stop_before_the_json(path, content):
        if Path(path).name == FACTS:
            raise KeyboardInterrupt
        return write(path, content)

    monkeypatch.setattr(files, "atomic_write", stop_before_the_json)
    with pytest.raises(KeyboardInterrupt):
        build("gpt", seed=77, **SIZES).save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(BadFile, match="damaged or replaced"):
        load(tmp_path)


def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InterpError, match="a file, not a folder"):
        build("gpt", **SIZES).save(tmp_path / "file" / "m")


def test_hugging_face_directories_that_would_execute_or_lack_something_are_refused(tmp_path):
    module = CASES["gpt2"].module()
    module.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = (tmp_path / WEIGHTS).read_bytes()

    def refused(message: str, **changes) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(BadFile, match=message):
            load(tmp_path)

    refused("does not say which model class", architectures=None)
    refused("no model class", architectures=["Evil"])
    refused("transformers knows", model_type="evil", auto_map={"AutoConfig": "evil.Config"})
    (tmp_path / WEIGHTS).write_bytes(weights[:1000])
    refused("safetensors")
    (tmp_path / WEIGHTS).unlink()
    torch.save(module.state_dict(), tmp_path / "pytorch_model.bin")
    refused("safetensors")
    (tmp_path / "pytorch_model.bin").unlink()
    state = {key: value for key, value in module.transformer.state_dict().items() if key != "ln_f.bias"}
    save_file(state, tmp_path / WEIGHTS, metadata={"format": "pt"})
    refused("lack")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadFile, match="not valid JSON"):
        load(tmp_path)


def test_unknown_names_say_what_there_is(tmp_path):
    with pytest.raises(ModelMissing, match='Did you mean "garden/induction-2l"'):
        load("garden/induktion-2l")
    with pytest.raises(ModelMissing, match="there is no directory"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelMissing, match='Did you mean "smollm2-135m"'):
        load("smollm2-135")
    with pytest.raises(BadFile, match="holds neither"):
        load(tmp_path)
    (tmp_path / "weights.bin").write_text("")
    with pytest.raises(BadFile, match="is a file"):
        load(tmp_path / "weights.bin")
    for nothing in ("", None, 3):
        with pytest.raises(BadInput, match="is no model; give a name .*garden/induction-2l"):
            load(nothing)
    with pytest.raises(BadInput, match="option of timm models only"):
        load("garden/induction-2l", pretrained=False)


def test_timm_models_are_built_by_name_and_come_back(tmp_path):
    try:
        from interp.adapters.timm import library

        library()
    except ImportError:
        with pytest.raises(ModelMissing, match="timm is not installed"):
            load("timm/vit_tiny_patch16_224")
        return
    model = load("timm/vit_tiny_patch16_224", pretrained=False, depth=2)
    x = torch.randn(1, 3, 224, 224)
    model.save(tmp_path)
    assert torch.equal(_run(model, x), _run(load(tmp_path), x))
    assert torch.equal(_run(model, x), _run(load("timm/vit_tiny_patch16_224", pretrained=False, depth=2), x))
    with pytest.raises(BadInput, match="timm has no model"):
        load("timm/vit_teeny")


def test_the_garden_lists_what_ships():
    assert all(name.startswith("garden/") for name in garden_names())
    assert {"garden/induction-2l", "garden/induction-1l", "garden/mod-add-29", "garden/sorting-1l",
            "garden/text-small"} <= set(garden_names())
