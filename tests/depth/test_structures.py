"""Influence, phases and loops of one model in one place; what a model lacks is named, not an error."""

import pytest

import interp
from interp.depth import block_influences, structure


def test_a_looped_model_has_visits_and_a_plain_one_says_why_not():
    looped = interp.build("looped", d_model=16, n_layers=4, n_heads=2, d_vocab=20, n_ctx=8, seed=0)
    x = interp.task("induction", model=interp.load("garden/induction-2l"), n=6).clean[:, :8] % 20
    found = structure(looped, x)
    assert found.loops is not None and set(found.loops.frame()["visit"]) >= {0, 1}
    plain = interp.build("gpt", d_model=16, n_layers=2, n_heads=2, d_vocab=20, n_ctx=8, seed=0)
    other = structure(plain, x)
    assert other.loops is None and "share weights" in other.absent["loops"]
    assert other.phases is None and "4 at least" in other.absent["phases"]
    table = dict(zip(other.influence["block"], other.influence["influence"]))
    assert table == pytest.approx(block_influences(plain, x))
    assert [section.heading for section in other.sections()] == ["Block influence", "Phases", "Loops"]
