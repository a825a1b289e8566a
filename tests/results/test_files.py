import errno
import os
import resource
import signal
import stat
import tomllib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.results import BadFile, BadInput, InterpError
from interp.results.errors import nearest
from interp.results.files import atomic_write, read_json
from interp.results.plain import to_plain, toml_text, without_none
from interp.results.tensors import is_whole, load_arrays, save_arrays

steady = settings(deadline=None, max_examples=60)  # a busy machine is not a failure


def test_atomic_write_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    atomic_write(path, "one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["b.txt"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, call, error):
    path = atomic_write(tmp_path / "a.txt", "old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(InterpError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        atomic_write(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]
    if isinstance(error, OSError):
        assert "disk is full" in str(caught.value)


def test_write_stopped_by_the_system_leaves_the_old_file(tmp_path):
    path = atomic_write(tmp_path / "a.bin", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(InterpError, match="cannot write"):
            atomic_write(path, bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    atomic_write(tmp_path / "a", "x")
    with pytest.raises(InterpError, match="not a folder"):
        atomic_write(tmp_path / "a" / "b", "x")


def test_json_over_the_limit_is_refused(tmp_path):
    path = atomic_write(tmp_path / "a.json", '{"schema": "x/1"}')
    assert read_json(path, "x/1") == {"schema": "x/1"}
    with pytest.raises(BadFile, match="bytes"):
        read_json(path, limit=5)
    with pytest.raises(BadFile, match="this version of interp reads"):
        read_json(path, "x/2")


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
leaves = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@steady
@given(st.dictionaries(keys, values, max_size=5))
def test_toml_reads_back_what_was_written(table):
    assert tomllib.loads(toml_text(table)) == table


def test_none_is_absent_in_toml_and_refused_in_lists():
    assert toml_text({"a": None, "b": {"c": None}}) == "[b]\n"
    assert without_none({"a": [{"b": None}]}) == {"a": [{}]}
    with pytest.raises(BadInput):
        toml_text({"a": [None]})


@steady
@given(values)
def test_plain_values_stay(value):
    assert to_plain(value) == value


def test_plain_opens_numbers_and_refuses_the_rest():
    given = {"a": np.float32(0.5), "b": (torch.tensor(3), np.arange(2)), "c": np.True_}
    assert to_plain(given) == {"a": 0.5, "b": [3, [0, 1]], "c": True}
    for bad in ({1: 2}, float("nan"), np.inf, object(), {"x": {1, 2}}, 2**64, lambda: 0):
        with pytest.raises(BadInput):
            to_plain(bad)


def test_arrays_round_trip_and_damage_is_seen(tmp_path):
    path = tmp_path / "a.safetensors"
    view = torch.arange(6.0).reshape(2, 3).T
    save_arrays(
        path, {"view": view, "zero": np.float32(1), "b": torch.ones(2, dtype=torch.bfloat16), "m": view > 2}
    )
    found = load_arrays(path)
    assert (
        np.array_equal(found["view"], view.numpy())
        and found["zero"].shape == ()
        and found["b"].dtype == np.float32
    )
    assert is_whole(path) and not is_whole(tmp_path / "none")
    path.write_bytes(path.read_bytes()[:-3])
    assert not is_whole(path)
    with pytest.raises(BadFile, match="damaged"):
        load_arrays(path)
    with pytest.raises(BadInput):
        save_arrays(path, {"text": np.array(["a"])})


def test_nearest_offers_one_name_or_nothing():
    assert nearest("hook_Zz", ["hook_z", "hook_q"]) == ' Did you mean "hook_z"?'
    assert nearest("xxxx", ["hook_z"]) == "" and nearest("a", []) == "" and nearest("", ["hook_z"]) == ""
    assert nearest("sigmoid", ["gpt", "sigmoid-attention"]) == ' Did you mean "sigmoid-attention"?'
