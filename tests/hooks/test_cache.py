"""Caches: what they hold, what they say when they do not, and their files."""

import re

import pytest
import torch
from safetensors.torch import save_file

from interp.hooks import Cache
from interp.results.errors import BadFile, InterpError, MissingSite
from tests.hooks.handmade import build, ids, literal


@pytest.fixture(scope="module")
def run():
    model, x = build(), ids()
    return model, x, model.run_with_cache(x)[1]


def test_cache_holds_the_values_of_the_literal_forward(run):
    model, x, cache = run
    logits, values = literal(model.module, x)
    assert set(values) | {"output"} == set(cache)
    for name, value in values.items():
        assert torch.allclose(cache[name], value, rtol=1e-12, atol=1e-13), name
    assert torch.allclose(cache["output"], logits, rtol=1e-12, atol=1e-13)


def test_file_round_trips_values_sites_counts_and_lengths(run, tmp_path):
    cache = run[2]
    cache.save(tmp_path / "run.safetensors")
    again = Cache.load(tmp_path / "run.safetensors")
    assert list(again) == list(cache) and again.sites == cache.sites and again.counts == cache.counts
    assert all(torch.equal(again[name], cache[name]) for name in cache)
    assert torch.equal(again.lengths.stop, cache.lengths.stop)
    again.save(tmp_path / "run.safetensors")  # onto itself
    assert list(Cache.load(tmp_path / "run.safetensors")) == list(cache)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "foreign", "directory"])
def test_damaged_or_foreign_file_is_refused_in_one_line(run, tmp_path, damage):
    path = tmp_path / "run.safetensors"
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not a tensor file")
    elif damage == "cut":
        run[2].save(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "foreign":
        save_file({"weight": torch.ones(2)}, str(path))
    elif damage == "directory":
        path.mkdir()
    with pytest.raises(BadFile, match=re.escape(str(path))) as error:
        Cache.load(path)
    assert "\n" not in str(error.value)


def test_file_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    save_file({"x": torch.ones(1)}, str(path), metadata={"schema": "interp.cache.99"})
    with pytest.raises(BadFile, match="is no activation cache of interp .schema 'interp.cache.99'."):
        Cache.load(path)


@pytest.mark.parametrize("meta", [
    {"sites": "{", "counts": "{}"}, {"sites": "[]", "counts": "{}"}, {"counts": "{}"},
    {"sites": '{"x": {"name": "x", "axes": [], "colour": 1}}', "counts": "{}"},
    {"sites": '{"y": {"name": "y", "axes": []}}', "counts": "{}"}, {"sites": "{}", "counts": '{"x": "many"}'},
])  # fmt: skip
def test_file_with_damaged_facts_is_refused(tmp_path, meta):
    path = tmp_path / "run.safetensors"
    tensors = {"x": torch.ones(1), "lengths.first": torch.zeros(1), "lengths.stop": torch.ones(1)}
    save_file(tensors, str(path), metadata={"schema": "interp.cache.1"} | meta)
    with pytest.raises(BadFile, match="cannot be read as an activation cache"):
        Cache.load(path)


def test_disk_that_refuses_leaves_the_old_file_and_no_draft(run, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    run[2].save(path)
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("interp.hooks.cache.os.replace", full)
    with pytest.raises(InterpError, match="No space left|full"):
        run[2].save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_folder_that_is_not_there_is_one_line(run, tmp_path):
    with pytest.raises(InterpError, match="cannot write .*nowhere"):
        run[2].save(tmp_path / "nowhere" / "run.safetensors")


def test_unknown_key_names_the_nearest_that_is_there(run):
    cache = run[2]
    with pytest.raises(MissingSite, match='Did you mean "blocks.0.hook_resid_post"') as error:
        cache["blocks.0.hook_resid_pots"]
    assert f"not in this cache of {len(cache)} sites" in str(error.value)


def test_keys_may_be_names_sites_or_transformerlens_tuples(run):
    model, _, cache = run
    z = cache["blocks.1.attn.hook_z"]
    assert cache["z", 1] is z and cache[model.site("blocks.1.attn.hook_z")] is z
    assert ("z", 1) in cache and ("z", 7) not in cache and "hook_nothing" not in cache
    assert f"{len(cache)} sites" in repr(cache)


def test_moved_cache_keeps_what_it_knows(run):
    cache = run[2]
    moved = cache.to("cpu")
    assert moved.counts == cache.counts and list(moved) == list(cache)


def test_values_are_detached_and_counts_prove_one_firing_each(run):
    cache = run[2]
    assert not any(value.requires_grad for value in cache.values())
    assert set(cache.counts.values()) == {1}
