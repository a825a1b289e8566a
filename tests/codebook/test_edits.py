"""Several changes of codes at one site, together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.codebook import Codebook, attach
from interp.codebook.circuits import Code
from interp.codebook.edits import Change, changed
from interp.codebook.layout import Layout
from interp.codebook.steering import activated
from interp.garden.catalog import build
from interp.results.errors import BadInput

SITE, CODES, K, GROUPS = "blocks.0.attn.hook_z", 9, 4, 2
MODEL = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=GROUPS, d_vocab=11, n_ctx=12)
X = torch.randint(11, (3, 6), generator=torch.Generator().manual_seed(0))
BOOK = Codebook.random(CODES, 8, groups=GROUPS, k=K, seed=1)
VALUE = MODEL.read(X, [SITE])[SITE]
LAYOUT = Layout.of(MODEL.site(SITE), None)
TARGET = BOOK.normed(LAYOUT.vectors(VALUE))
NATURAL = BOOK.search(TARGET)[1]  # [batch, pos, group, k]
several = st.lists(st.integers(0, CODES - 1), min_size=1, max_size=K, unique=True)
slots = st.sampled_from([-1, -2, 0, 2])


def after(*changes):
    return changed(changes, NATURAL, TARGET, BOOK, LAYOUT, VALUE, MODEL.lengths(X))


def rows(ids):
    return [sorted(row) for row in ids.flatten(0, -2).tolist()]


@given(several, st.data())
def test_codes_that_are_activated_together_are_all_active_wherever_they_stood_before(codes, data):
    ids = after(*[Change("activate", SITE, code, slot=data.draw(slots)) for code in codes])
    for was, now in zip(rows(NATURAL), rows(ids)):
        assert set(codes) <= set(now) and len(set(now)) == K
        assert set(now) - set(codes) <= set(was)


@given(st.integers(0, CODES - 1), slots)
def test_one_activation_is_the_literal_one(code, slot):
    expected = NATURAL.reshape(-1, K).tolist()
    for row in expected:
        if code not in row:
            row[slot] = code
    assert after(Change("activate", SITE, code, slot=slot)).reshape(-1, K).tolist() == expected


@given(st.lists(st.integers(0, CODES - 1), min_size=1, max_size=CODES - K, unique=True))
def test_suppressed_codes_are_exchanged_for_the_best_that_are_left(codes):
    ids = after(*[Change("suppress", SITE, code, refill=True) for code in codes])
    assert rows(ids) == rows(BOOK.search(TARGET, torch.tensor(codes))[1])


def test_what_is_suppressed_in_one_head_or_at_one_position_may_fill_a_slot_elsewhere():
    first, second = NATURAL[0, 0, 0, 0].item(), NATURAL[0, 0, 0, 1].item()
    there = Change("suppress", SITE, first, refill=True, head=0, pos=0)
    best = BOOK.search(TARGET, k=CODES)[1]
    ids = after(there, Change("suppress", SITE, second, refill=True))
    for place in [(row, pos, group) for row in range(3) for pos in range(6) for group in range(GROUPS)]:
        gone = {second} | ({first} if place[1:] == (0, 0) else set())
        assert set(ids[place].tolist()) == set([code for code in best[place].tolist() if code not in gone][:K])


def test_more_codes_than_slots_and_no_code_left_are_errors():
    with pytest.raises(BadInput, match="than it has slots, 4"):
        after(*[Change("activate", SITE, code) for code in range(K + 1)])
    with pytest.raises(BadInput, match="than it has slots"):
        after(Change("activate", SITE, 1), Change("activate", SITE, 2, slot="all"))
    with pytest.raises(BadInput, match="none is left"):
        after(*[Change("suppress", SITE, code, refill=True) for code in range(CODES)])
    empty = after(*[Change("suppress", SITE, code) for code in range(CODES)])
    assert (empty == -1).all()


def test_activated_codes_of_one_head_are_active_at_every_token_in_the_running_model():
    books = attach(MODEL, SITE, n_codes=CODES, k=K)
    common = books.codes(X)[SITE][..., 0, :].flatten().bincount(minlength=CODES).argsort(descending=True)[:3].tolist()
    seen = {}

    from interp.codebook.books import Watched

    edited = activated(books, [Code(SITE, 0, code) for code in common])
    with MODEL.edit(Watched(books, lambda site, book, snap, real: seen.update(ids=snap.ids), edited.changes)):
        MODEL(X)
    for code in common:
        assert (seen["ids"][..., 0, :] == code).any(-1).all()
    with pytest.raises(BadInput, match="one code can fill every slot"):
        activated(books, [Code(SITE, 0, 1), Code(SITE, 0, 2)], every_slot=True)
    with pytest.raises(BadInput, match=f"at '{SITE}': more codes"), MODEL.edit(
            books.activate(SITE, 1, head=0).activate(SITE, 2, head=0, slot="all")):
        MODEL(X)


@pytest.mark.parametrize("given", [{"code": 1.5}, {"code": 99}, {"code": 1, "slot": "last"}, {"code": 1, "slot": 4}])
def test_codes_and_slots_that_are_none(given):
    books = attach(MODEL, SITE, n_codes=CODES, k=K)
    with pytest.raises(BadInput, match="was asked"):
        books.activate(SITE, **given)


def test_what_is_put_is_a_tensor():
    with pytest.raises(BadInput, match="not a list"):
        attach(MODEL, SITE, n_codes=CODES, k=K).put(SITE, [1, 2])
