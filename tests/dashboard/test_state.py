"""The keys of the URL: every one is read, written, read again, and never breaks a page when it is nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.dashboard.state import KEYS
from tests.dashboard.helpers import address, open_page, said

GOOD = {
    "m": "garden/dyck-2l", "t": "dyck", "n": 24, "seed": 3, "row": 2, "p": "1 2 3", "c": "1 2 4", "pos": 3,
    "h": "L1H0,MLP1", "e": "L0H2 -> L1H1 (k)", "lay": 1, "met": "accuracy", "abl": "mean", "thr": 4, "meth": "tangent",
    "view": "pattern", "mode": "curve", "q": "a b", "run": "a/b-1", "lens": "tuned", "of": "next", "fol": " the",
    "pick": "Newton",
    "part": "mlp", "dir": "remove", "on": "all", "cut": 2, "by": "last", "skip": "local",
    "qual": "text", "icl": "garden/icl-teaching",
    "fn": "linear:shift=opposite",
    "arch": "mamba", "fam": "linear attention", "mod": "vision", "mix": "softmax", "b.arch": "gla",
    "prog": "sort", "tok": "3 1 2", "lib": "hist", "voc": "a b", "len": 4,
    "code": "blocks.2.attn.hook_z:0:17", "say": "peace",
    "b.m": "rxnmapper", "b.t": "ioi", "b.run": "c-2",
    "b.h": "L0H0",
}
BAD = {
    "m": "a b<script>", "t": "../x", "n": "5", "seed": "-1", "row": "x", "p": "\x00", "c": "x" * 2000, "pos": "1.5",
    "h": "<b>", "e": "\n", "lay": "-3", "met": "a b", "abl": "none", "thr": "1e3", "meth": "a/b", "view": "x",
    "mode": "x y", "q": "y" * 301, "run": "../../etc", "lens": "zoom", "of": "last",
    "fol": "\n", "pick": "x" * 101,
    "part": "head", "dir": "up", "on": "two", "cut": "-1", "by": "x", "skip": "all", "qual": "x",
    "icl": "a b", "fn": "a b",
    "arch": "a b", "fam": "<i>", "mod": "?", "mix": "a b", "b.arch": "../x",
    "prog": "../x", "tok": "\n", "lib": "a/b", "voc": "\n", "len": "40",
    "code": "blocks:x:1", "say": "y" * 401,
    "b.m": " ", "b.t": "!", "b.run": "/etc", "b.h": "?", "v": "2",
}


def test_every_key_has_a_good_and_a_bad_example_here():
    assert set(GOOD) | {"v"} == set(KEYS) == set(BAD)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_value_is_read_as_it_was_written(name):
    key = KEYS[name]
    assert key.read(str(GOOD[name])) == GOOD[name] != key.default
    assert key.default == "" or key.read(str(key.default)) == key.default


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_value_is_an_error_with_a_reason(name):
    with pytest.raises(ValueError, match=r"\w+"):
        KEYS[name].read(BAD[name])


@given(st.sampled_from(sorted(KEYS)), st.text(max_size=60))
def test_no_text_is_more_than_a_value_error(name, text):
    try:
        value = KEYS[name].read(text)
    except ValueError:
        return
    assert KEYS[name].read(str(value)) == value


def test_the_url_survives_a_run_and_what_is_not_ours_is_left_alone():
    test = open_page("help", **{key.replace(".", "_"): value for key, value in GOOD.items()}, other="kept")
    assert address(test) == \
        {key: str(value) for key, value in GOOD.items()} | {"other": "kept"}
    assert "in the address is" not in said(test)


def test_bad_values_become_defaults_with_one_notice_each_and_leave_the_url():
    test = open_page("help", **{key.replace(".", "_"): value for key, value in BAD.items() if key != "p"})
    assert not test.exception
    assert said(test).count("in the address is") == len(BAD) - 1
    assert not set(test.query_params) & set(KEYS)


def test_a_default_is_not_written_into_the_url():
    test = open_page("help", m="garden/induction-2l", n=48)
    assert not test.query_params
