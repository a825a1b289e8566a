"""The index on disk: what it holds, that it goes on, and that it refuses what is not its own."""

import os

import pytest
import torch

from interp.codebook import TokenCodes, attach, topics
from interp.codebook import index as module
from interp.codebook.index import build_index
from interp.codebook.topics import shares
from interp.garden.catalog import build as build_model
from interp.garden.loading import load
from interp.results.errors import BadFile, BadInput, InterpError
from interp.tasks.corpus import documents

SITES = ["blocks.0.attn.hook_z", "blocks.1.hook_mlp_out"]


@pytest.fixture(scope="module")
def model():
    return load("garden/text-small")


@pytest.fixture(scope="module")
def texts():
    return [d.text[:600] for d in documents() if d.split == "test"][:12] + ["naïve — ☃☃ of the war"]


@pytest.fixture(scope="module")
def books(model):
    return attach(model, SITES, n_codes=40, k=2, seed=1)


@pytest.fixture(scope="module")
def whole(books, texts):
    return TokenCodes.of(books, texts, length=64)


@pytest.fixture
def found(books, texts, tmp_path):
    return build_index(books, texts, tmp_path / "index", length=64, rows=8)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_index_is_searched_as_codes_in_memory_are(found, whole):
    assert all(torch.equal(found.codes[s].long(), whole.codes[s].long()) for s in SITES)
    assert found.codes[SITES[0]].dtype == torch.int16  # as on disk: nothing was read into memory whole
    for pattern in ("the|of", "(of) the"):
        assert found.search(pattern).frame().equals(whole.search(pattern).frame())
    assert found.topics(0, 0.2).equals(whole.topics(0, 0.2))
    site, group, code = whole.search("the", n=1).frame().loc[0, ["site", "group", "code"]]
    assert found.examples(site, group, code).equals(whole.examples(site, group, code))


def test_one_that_was_stopped_goes_on_where_it_was(books, texts, whole, tmp_path, monkeypatch):
    calls, read = [], books.read_codes

    def stops(x):
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(x)

    monkeypatch.setattr(module, "FLUSH", 1)
    monkeypatch.setattr(books, "read_codes", stops)
    with pytest.raises(KeyboardInterrupt):
        build_index(books, texts, tmp_path / "i", length=64, rows=8)
    with pytest.raises(BadFile, match="16 of .* rows are written"):
        TokenCodes.load(tmp_path / "i", books)
    found = build_index(books, texts, tmp_path / "i", length=64, rows=8)
    assert sum(calls[3:]) == len(whole.tokens) - 16
    assert all(torch.equal(found.codes[s].long(), whole.codes[s].long()) for s in SITES)
    build_index(books, texts, tmp_path / "i", length=64, rows=8)
    assert sum(calls[3:]) == len(whole.tokens) - 16  # nothing is read again


@pytest.mark.parametrize("other", ["codebook", "model", "tokenizer", "texts"])
def test_what_belongs_to_something_else_is_refused_and_nothing_is_written(other, found, books, model, texts, tmp_path,
                                                                          monkeypatch):
    before, given = files(tmp_path / "index"), texts
    if other == "codebook":
        books = attach(model, SITES, n_codes=40, k=2, seed=5)
    elif other == "model":
        monkeypatch.setattr(model, "name", "someone-else")
    elif other == "tokenizer":
        monkeypatch.setattr(model.tokenizer, "get_vocab", lambda: {"a": 0})
    else:
        given = texts[:-1]
    with pytest.raises(BadInput, match=f"other {other}"):
        build_index(books, given, tmp_path / "index", length=64)
    assert files(tmp_path / "index") == before
    if other != "texts":
        with pytest.raises(BadInput, match=f"another {other}"):
            TokenCodes.load(tmp_path / "index", books)


def test_ids_with_a_vocab_are_indexed_too(tmp_path):
    model = build_model("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=5, n_ctx=8)
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=9, k=1)
    x = torch.randint(5, (10, 8), generator=torch.Generator().manual_seed(0))
    found = build_index(books, x, tmp_path, vocab="abcde")
    assert torch.equal(found.codes["blocks.0.hook_mlp_out"].long(), books.codes(x)["blocks.0.hook_mlp_out"])
    assert len(found.search("[abc]([de])", words=False, least_hits=1).frame())


@pytest.mark.parametrize("name", ["codes-0.npy", "tokens.safetensors", "index.json", "done.json"])
def test_damaged_files_are_said_to_be(name, found, books, tmp_path):
    (tmp_path / "index" / name).write_bytes(b"{}")
    with pytest.raises(BadFile):
        TokenCodes.load(tmp_path / "index", books)


def test_an_index_may_be_written_from_memory_and_overwrites_only_its_own(whole, books, model, texts, tmp_path):
    whole.save(tmp_path)
    assert torch.equal(TokenCodes.load(tmp_path, books).codes[SITES[0]].long(), whole.codes[SITES[0]])
    whole.save(tmp_path)
    other = TokenCodes.of(attach(model, SITES, n_codes=40, k=2, seed=5), texts, length=64)
    with pytest.raises(BadInput, match="another codebook"):
        other.save(tmp_path)


@pytest.mark.parametrize("made", ["saved", "built"])
def test_an_index_saved_onto_itself_is_what_it_was(made, whole, books, texts, tmp_path):
    if made == "saved":
        whole.save(tmp_path / "i")
    else:
        build_index(books, texts, tmp_path / "i", length=64)
    before, opened = files(tmp_path / "i"), TokenCodes.load(tmp_path / "i", books)
    opened.save(tmp_path / "i")
    assert files(tmp_path / "i") == before
    for codes in (opened, TokenCodes.load(tmp_path / "i", books)):
        assert all(torch.equal(codes.codes[s].long(), whole.codes[s]) for s in SITES)


def test_an_index_is_one_whether_it_was_saved_or_built(whole, books, texts, tmp_path):
    whole.save(tmp_path / "saved")
    build_index(books, texts, tmp_path / "built", length=64)
    assert files(tmp_path / "saved") == files(tmp_path / "built")
    with pytest.raises(BadInput, match="other texts, windows or halves"):
        build_index(books, texts, tmp_path / "saved", length=64, seed=1)


def test_a_write_that_fails_leaves_the_codes_that_were_there(whole, books, tmp_path, monkeypatch):
    whole.save(tmp_path)
    before = files(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InterpError, match="disk is full"):
        whole.save(tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize("changed", [{"k": 1}, {"similarity": "euclidean"}, {"reduction": "mean"},
                                     {"pre_norm": "layer"}])
def test_an_index_of_books_with_other_settings_is_not_gone_on_with(changed, found, model, texts, tmp_path):
    before, other = files(tmp_path / "index"), attach(model, SITES, n_codes=40, seed=1, **{"k": 2} | changed)
    for act in (lambda: build_index(other, texts, tmp_path / "index", length=64),
                lambda: TokenCodes.load(tmp_path / "index", other)):
        with pytest.raises(BadInput, match="another codebook"):
            act()
    assert files(tmp_path / "index") == before


def test_codes_that_cannot_be_read_leave_no_index_behind(books, texts, tmp_path, monkeypatch):
    def broken(x):
        raise BadInput("NaN")

    monkeypatch.setattr(books, "read_codes", broken)
    with pytest.raises(BadInput, match="NaN"):
        build_index(books, texts, tmp_path / "i", length=64)
    assert not (tmp_path / "i").exists()


def test_names_of_special_tokens_are_kept(tmp_path):
    model = load("rxnmapper")
    books = attach(model, "blocks.0.attn.hook_z", n_codes=9, k=1)
    found = build_index(books, ["CC(=O)O", "CCN"], tmp_path)
    assert found.tokens.around(1, 0, 2) == ("", "[CLS]", "CC")


# -- topics and labels ---------------------------------------------------------------------------------------------


def test_shares_are_a_loop_over_tokens(whole):
    site = SITES[0]
    found = shares(whole, site, torch.tensor([1, 4]))
    for i, row in enumerate((1, 4)):
        real = whole.tokens.real[row]
        for group, code in ((0, 3), (2, 17)):
            on = [(code in ids[group].tolist()) for ids in whole.codes[site][row][real]]
            assert float(found[i, group, code]) == pytest.approx(sum(on) / int(real.sum()))


def test_a_topic_code_is_active_where_the_words_are_and_scored_on_other_rows(whole):
    table = whole.topic("war|peace", n=5)
    about = whole.tokens.matches("war|peace").any(1)
    row = table.iloc[0]
    own = shares(whole, row["site"])[:, int(row["group"]), int(row["code"])]
    for half, name in ((whole.select, "selected_auc"), (~whole.select, "auc")):
        pairs = [(float(a > b) + 0.5 * float(a == b)) for a in own[half & about] for b in own[half & ~about]]
        assert row[name] == pytest.approx(sum(pairs) / len(pairs))
    assert table["selected_auc"].is_monotonic_decreasing
    with pytest.raises(BadInput, match="some, and not all"):
        whole.topic("xyzzy")
    with pytest.raises(BadInput, match="row 999"):
        whole.topics(999)


def test_topics_are_the_same_in_parts_that_fit_in_memory(whole, monkeypatch):
    together = whole.topic("war|peace", n=30)
    asked, own = [], topics.shares

    def seen(found, site, rows=None, groups=slice(None)):
        part = own(found, site, rows, groups)
        asked.append(part.numel())
        return part

    monkeypatch.setattr(topics, "shares", seen)
    monkeypatch.setattr(topics, "SHARES", len(whole.tokens) * 40)
    assert whole.topic("war|peace", n=30).equals(together)
    assert asked == [len(whole.tokens) * 40] * 5  # four heads and an MLP


def test_labels_are_searched_on_disk_too(found, whole, texts):
    classes = torch.arange(len(texts)) % 2
    assert found.labelled(classes).frame().equals(whole.labelled(classes).frame())


@pytest.mark.parametrize(("labels", "says"), [(-torch.ones(13).long(), "no label is on both"),
                                              (torch.ones(13), "whole numbers")])
def test_labels_that_cannot_be_searched_are_refused(labels, says, whole):
    with pytest.raises(BadInput, match=says):
        whole.labelled(labels)


def test_labels_of_texts_are_labels_of_their_tokens(whole, texts):
    classes = torch.arange(len(texts)) % 2
    each = classes[whole.tokens.text][:, None].expand_as(whole.tokens.ids)
    assert whole.labelled(classes).frame().equals(whole.labelled(each).frame())
    with pytest.raises(BadInput, match="nor one per text"):
        whole.labelled(classes[:3])
