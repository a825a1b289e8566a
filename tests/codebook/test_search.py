"""Tokens that know their characters, and codes found over them."""

import re
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.codebook import TokenCodes, attach, build_index, generate, perplexity, similar
from interp.codebook import search as module
from interp.codebook.files import digest
from interp.codebook.tokens import Tokens, spelled, tokenise, whole_words
from interp.garden.catalog import build
from interp.garden.loading import load
from interp.results.errors import BadFile, BadInput, MissingSite
from interp.tasks.corpus import documents

SITES = ["blocks.0.attn.hook_z", "blocks.1.hook_mlp_out"]


@pytest.fixture(scope="module")
def model():
    return load("garden/text-small")


@pytest.fixture(scope="module")
def texts():
    return [d.text[:700] for d in documents() if d.split == "test"][:12]


@pytest.fixture(scope="module")
def books(model, texts):
    x = tokenise(model.tokenizer, texts, 64).ids[:16, :40]
    return attach(model, SITES, n_codes=40, k=2, init="kmeans", example=x)


@pytest.fixture(scope="module")
def found(books, texts):
    return TokenCodes.of(books, texts, length=64)


def marked(tokens, pattern, **settings):
    return ["".join(tokens.piece(r, p)) for r, p in tokens.matches(pattern, **settings).nonzero().tolist()]


# -- alignment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["garden/text-small", "rxnmapper"])
def test_every_token_is_its_own_characters_across_windows(name, texts):
    own = load(name)
    given = ["CC(=O)Oc1ccccc1C(=O)O.CCN" * 3, "BrCCl"] if name == "rxnmapper" else texts
    tokens = tokenise(own.tokenizer, given, 32)
    for text, content in enumerate(given):
        places = [(int(a), int(b)) for r in range(len(tokens)) if int(tokens.text[r]) == text
                  for a, b in zip(tokens.start[r], tokens.stop[r]) if a >= 0]
        assert "".join(content[a:b] for a, b in places) == content  # nothing left out, nothing twice
    assert int(tokens.real.sum(1).max()) == 32


def test_multi_byte_characters_do_not_shift_what_follows(model):
    text = "𝔘𝔘𝔘𝔘𝔘𝔘𝔘𝔘 naïve — ☃☃ snow, the war"
    tokens = tokenise(model.tokenizer, [text], 128)
    assert int(tokens.real.sum()) > len(text)  # several tokens for one character
    last = tokens.matches("war").nonzero()
    assert len(last) == 1 and int(tokens.stop[tuple(last[0])]) == len(text)
    pieces = {tokens.piece(r, p) for r, p in tokens.matches("☃☃", words=False, at="all").nonzero().tolist()}
    assert pieces <= {"☃", " ☃", "☃☃"} and pieces


def test_matches_respect_words_groups_and_place():
    tokens = spelled(torch.tensor([[0, 1, 0, 2, 3, 4]]), ["the", " he", "n ", "he", "at"])
    assert tokens.texts == ("the hethen heat",)
    assert tokens.matches("he").tolist() == [[False] * 6]  # " he" is followed by "then": no whole word
    assert tokens.matches("he", words=False).nonzero()[:, 1].tolist() == [0, 1, 2, 4]
    assert tokens.matches("heat").nonzero()[:, 1].tolist() == [5]
    assert tokens.matches("heat", at="first").nonzero()[:, 1].tolist() == [4]
    assert tokens.matches("heat", at="all").nonzero()[:, 1].tolist() == [4, 5]
    assert tokens.matches("(he)at").nonzero()[:, 1].tolist() == [4]
    assert tokens.matches("(?:he)at").nonzero()[:, 1].tolist() == [5]  # a group that captures nothing
    assert tokens.matches("heat|(zzz)").sum() == 0  # its group took no part
    assert tokens.matches("(zzz)|he(at)").nonzero()[:, 1].tolist() == [5]  # the other one did
    assert tokens.matches("(x*)he(at)").nonzero()[:, 1].tolist() == [5]


def cut(text, sizes, width):
    """A text in tokens of these sizes, in windows of `width` tokens."""
    edges = [0]
    while edges[-1] < len(text):
        edges.append(min(len(text), edges[-1] + sizes[len(edges) % len(sizes)]))
    n = -(-(len(edges) - 1) // width)
    start, stop = torch.full((n, width), -1), torch.full((n, width), -1)
    start.view(-1)[: len(edges) - 1] = torch.tensor(edges[:-1])
    stop.view(-1)[: len(edges) - 1] = torch.tensor(edges[1:])
    return Tokens(torch.zeros(n, width).long(), start >= 0, start, stop, torch.zeros(n).long(), (text,))


@settings(max_examples=60)
@given(st.text("ab ", min_size=1, max_size=40), st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(1, 6),
       st.sampled_from(["a+", "ab|ba", "(a)b|b(b)", "a(?= (b))", "b a"]), st.sampled_from(["first", "last", "all"]))
def test_matches_are_a_loop_over_the_tokens_of_the_whole_text(text, sizes, width, pattern, at):
    tokens = cut(text, sizes, width)
    wanted = torch.zeros_like(tokens.real)
    for match in re.finditer(pattern, text):
        low, high = next((match.span(i + 1) for i, g in enumerate(match.groups()) if g), match.span())
        under = [(r, p) for r, p in tokens.real.nonzero().tolist()
                 if tokens.start[r, p] < high and tokens.stop[r, p] > low]
        for place in {"first": under[:1], "last": under[-1:], "all": under}[at]:
            wanted[place] = True
    assert torch.equal(tokens.matches(pattern, words=False, at=at), wanted)
    assert torch.equal(_shuffled(tokens, range(len(tokens))[::-1]).matches(pattern, words=False, at=at), wanted.flip(0))


def _shuffled(tokens, order):
    rows = list(order)
    return Tokens(*(part[rows] for part in (tokens.ids, tokens.real, tokens.start, tokens.stop, tokens.text)),
                  tokens.texts)


def test_a_match_across_two_windows_is_marked_once():
    tokens = cut("the warfare", [3, 4], 2)  # "the ", "war" | "fare"
    assert [tokens.piece(*at) for at in ((0, 0), (0, 1), (1, 0))] == ["the ", "war", "fare"]
    assert tokens.matches("warfare").tolist() == [[False, False], [True, False]]
    assert tokens.matches("warfare", at="first").tolist() == [[False, True], [False, False]]
    assert tokens.matches("warfare", at="all").tolist() == [[False, True], [True, False]]


def test_a_long_text_is_searched_in_one_pass():
    tokens = cut("the war of the land " * 5000, [4], 64)
    began = time.perf_counter()
    assert int(tokens.matches("the").sum()) == 10_000
    assert time.perf_counter() - began < 2  # window by window it is minutes


@pytest.mark.parametrize(("pattern", "found"), [
    ("war", ["war"]), ("(?i)war", ["War", "war"]), ("(?i)(?m)^the|war", ["The", "War", "war"]),
    ("(?x) w a r  # a comment", ["war"]), ("he|hen", ["hen"]), ("caf", []), ("(?a)caf", ["caf"]),
])
def test_whole_words_keep_the_flags_of_their_pattern(pattern, found):
    assert [m[0] for m in whole_words(pattern).finditer("The War of the hen: war, warfare, café")] == found


@pytest.mark.parametrize("pattern", ["(", "war)|(?:peace", "a{99999999999}", "war(?i)"])
def test_whole_words_of_what_is_no_pattern_are_refused(pattern):
    with pytest.raises(BadInput, match="no regular expression"):
        whole_words(pattern)


def test_special_tokens_are_nowhere():
    tokens = tokenise(load("rxnmapper").tokenizer, ["CC(=O)O.CCN" * 3], 16)
    assert tokens.start[0, 0] == -1 and tokens.piece(0, 0) == ""
    assert not tokens.matches(".+", words=False, at="all")[0, 0]


def test_a_special_token_is_shown_between_its_neighbours():
    text = "CC(=O)O.CCN" * 3
    tokens = tokenise(load("rxnmapper").tokenizer, [text], 16)
    assert len(tokens) > 1
    for row in range(len(tokens)):
        last = int(tokens.real[row].sum()) - 1
        begin, end = int(tokens.start[row, 1]), int(tokens.stop[row, last - 1])
        assert tokens.around(row, 0, 5) == (text[max(0, begin - 5) : begin], "[CLS]", text[begin : begin + 5])
        assert tokens.around(row, last, 5) == (text[end - 5 : end], "[SEP]", text[end : end + 5])


@pytest.mark.parametrize(("pattern", "says"), [("(", "no regular expression"), ("x*", "empty text")])
def test_patterns_that_mark_nothing_are_refused(pattern, says):
    with pytest.raises(BadInput, match=says):
        spelled(torch.zeros(1, 2, dtype=torch.long), ["ab"]).matches(pattern, words=False)


# -- search --------------------------------------------------------------------------------------------------------


def test_a_search_counts_what_a_loop_over_tokens_counts(found, books):
    assert torch.equal(found.codes[SITES[1]][:2], books.codes(found.tokens.ids[:2])[SITES[1]])
    table = found.search("the|of|and", n=5).frame()
    assert len(table) == 5 and table["selected_precision"].is_monotonic_decreasing
    marks = found.tokens.matches("the|of|and")
    for _, row in table.iterrows():
        hits = activations = matches = 0
        for r in range(len(found.tokens)):
            if found.select[r]:
                continue
            for p in range(found.tokens.ids.shape[1]):
                if not found.tokens.real[r, p]:
                    continue
                on = row["code"] in found.codes[row["site"]][r, p, row["group"]].tolist()
                hits += on and bool(marks[r, p])
                activations += on
                matches += int(marks[r, p])
        assert row["activations"] == activations and row["matches"] == matches
        assert row["precision"] == pytest.approx(hits / max(activations, 1))
        assert row["recall"] == pytest.approx(hits / matches)
    assert not set(found.tokens.text[found.select].tolist()) & set(found.tokens.text[~found.select].tolist())


def test_examples_show_where_a_code_is_active_the_most_similar_first(found):
    group, code = 0, int(found.codes[SITES[1]][0, 3, 0, 0])
    table = found.examples(SITES[1], group, code, n=30)
    assert len(table) and table["slot"].is_monotonic_increasing
    for _, row in table.iterrows():
        text = found.tokens.texts[row["text"]]
        assert row["before"] + row["token"] + row["after"] in text
    with pytest.raises(BadInput, match="there is no code 99"):
        found.examples(SITES[1], 0, 99)


def test_codes_are_not_sought_at_a_site_that_has_none(found):
    for act in (found.search, found.topic):
        with pytest.raises(MissingSite, match="no codes of 'blocks.0.attn.hook_q'.*hook_z"):
            act("the", sites=["blocks.0.attn.hook_q"])
    assert set(found.search("the", sites=SITES[1], least_hits=1).frame()["site"]) == {SITES[1]}


def test_codes_of_what_does_not_depend_on_the_tokens_are_refused(model, texts, tmp_path):
    books = attach(model, "hook_pos_embed", n_codes=9, k=1)
    for act in (lambda: TokenCodes.of(books, texts), lambda: build_index(books, texts, tmp_path / "i")):
        with pytest.raises(BadInput, match="'hook_pos_embed' has codes for"):
            act()
    assert not (tmp_path / "i").exists()


def test_topics_and_similar_codes(found, books):
    table = found.topics(0, 0.2)
    for _, row in table.iterrows():
        on = (found.codes[row["site"]][0, :, row["group"]] == row["code"]).any(-1) & found.tokens.real[0]
        assert row["share"] == pytest.approx(int(on.sum()) / int(found.tokens.real[0].sum())) and row["share"] >= 0.2
    near = similar(books, SITES[0], 1, 5, n=39)
    codes = books.of(SITES[0]).codes.detach()[1]
    wanted = torch.nn.functional.cosine_similarity(codes, codes[5], dim=-1)
    assert near["cosine"].tolist() == pytest.approx(wanted[near["code"].tolist()].tolist(), abs=1e-5)
    assert 5 not in near["code"].tolist() and near["cosine"].is_monotonic_decreasing


def test_labels_are_searched_on_the_same_split(found):
    labels = (found.tokens.ids % 3).where(found.tokens.real, 0)
    table = found.labelled(labels).frame()
    assert len(table) == 6 and table["precision"].between(0, 1).all()


def test_saved_codes_come_back_and_belong_to_their_books_only(found, books, model, texts, tmp_path):
    found.save(tmp_path)
    again = TokenCodes.load(tmp_path, books)
    assert all(torch.equal(again.codes[s], found.codes[s]) for s in SITES) and again.tokens.texts == tuple(texts)
    assert books.search("the", again).frame().equals(found.search("the").frame())
    other = attach(model, SITES, n_codes=40, k=2, seed=5)
    with pytest.raises(BadInput, match="belongs to another codebook"):
        TokenCodes.load(tmp_path, other)
    with pytest.raises(BadInput, match="another"):
        other.search("the", again)
    (tmp_path / "tokens.safetensors").write_bytes(b"x")
    with pytest.raises(BadFile, match="damaged"):
        TokenCodes.load(tmp_path, books)


@pytest.mark.parametrize("changed", [{"k": 1}, {"similarity": "euclidean"}, {"reduction": "mean"}, {"pre_norm": "rms"}])
def test_codes_of_books_with_other_settings_are_refused(changed, model, texts):
    made = attach(model, SITES[1], n_codes=40, k=2, seed=3)
    found = TokenCodes.of(made, texts[:2], length=64)
    assert found.check(attach(model, SITES[1], n_codes=40, k=2, seed=3)) is found
    with pytest.raises(BadInput, match="another codebook"):
        found.check(attach(model, SITES[1], n_codes=40, seed=3, **{"k": 2} | changed))


def test_weights_are_hashed_again_only_where_they_changed_however_that_was(monkeypatch):
    made = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=5, n_ctx=8)
    books, weight, calls = attach(made, "blocks.0.hook_mlp_out", n_codes=9, k=1), next(made.module.parameters()), []
    monkeypatch.setattr(module, "digest", lambda tensors: calls.append(tensors) or digest(tensors))
    seen = [module.origin(books)["weights"]]
    assert module.origin(books)["weights"] == seen[0] == digest(dict(made.module.named_parameters()))
    assert sum("/" not in next(iter(call)) for call in calls) == 1  # of the model; books' names have one
    weight.grad = torch.ones_like(weight)
    for change in (lambda: weight.data.view(-1)[-1].add_(1e-3), lambda: weight.data.copy_(weight.data.flip(0)),
                   lambda: torch.optim.SGD([weight], 0.1, fused=True).step()):
        change()
        assert module.origin(books)["weights"] not in seen
        seen.append(module.origin(books)["weights"])


def test_codes_of_another_tokenizer_are_refused(found, books):
    import dataclasses

    other = dataclasses.replace(found, origin=found.origin | {"tokenizer": "0"})
    with pytest.raises(BadInput, match="another tokenizer"):
        books.search("the", other)


@pytest.mark.parametrize(("act", "says"), [
    (lambda found, books: found.search("zzzz"), "marks 0 tokens"),
    (lambda found, books: TokenCodes.of(books, [""]), "no text"),
    (lambda found, books: TokenCodes.of(books, torch.zeros(1, 3, dtype=torch.long)), "vocab"),
    (lambda found, books: TokenCodes.of(attach(build("gpt", seed=0), "blocks.0.hook_mlp_out", n_codes=9, k=1), ["a"]),
     "no tokenizer"),
])
def test_bad_input_says_what_to_do(found, books, act, says):
    with pytest.raises(BadInput, match=says):
        act(found, books)


# -- generation ----------------------------------------------------------------------------------------------------


def test_generation_is_a_loop_over_the_edited_model(books, model):
    ids = torch.tensor([model.tokenizer.encode("The people of")] * 2)
    edited = books.activate(SITES[1], 7, slot="all")
    made = generate(model, ids, 3, edited, temperature=0)
    with model.edit(edited), torch.no_grad():
        wanted = ids
        for _ in range(3):
            wanted = torch.cat([wanted, model(wanted)[:, -1:].argmax(-1)], 1)
    assert torch.equal(made, wanted)
    assert torch.equal(generate(model, ids, 4, seed=1), generate(model, ids, 4, seed=1))
    assert not torch.equal(generate(model, ids, 8, seed=1), generate(model, ids, 8, seed=2))


def test_draws_follow_the_model(model):
    ids = torch.tensor([model.tokenizer.encode("The United")] * 400)
    made = generate(model, ids, 1)[:, -1]
    with torch.no_grad():
        share = model(ids[:1])[0, -1].softmax(-1)
    likely = int(share.argmax())
    assert float((made == likely).float().mean()) == pytest.approx(float(share[likely]), abs=0.08)


def test_perplexity_is_the_exponential_of_the_mean_loss(model):
    ids = torch.tensor([model.tokenizer.encode("The people of the United States")])
    with torch.no_grad():
        logs = model(ids)[0].log_softmax(-1)
    wanted = torch.stack([-logs[i - 1, ids[0, i]] for i in range(2, ids.shape[1])]).mean().exp()
    assert float(perplexity(model, ids, 2)) == pytest.approx(float(wanted), rel=1e-4)
    with pytest.raises(BadInput, match="no continuation"):
        perplexity(model, ids, ids.shape[1])
    with pytest.raises(BadInput, match="does not predict"):
        generate(load("rxnmapper"), ids, 1)
