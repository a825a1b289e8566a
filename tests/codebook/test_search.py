"""Tokens that know their characters, and codes found over them."""

import pytest
import torch

from interp.codebook import TokenCodes, attach, generate, perplexity
from interp.codebook.search import similar
from interp.codebook.tokens import spelled, tokenise
from interp.garden.catalog import build
from interp.garden.loading import load
from interp.results.errors import BadFile, BadInput
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


def test_special_tokens_are_nowhere():
    own = load("minilm-l6") if _there("minilm-l6") else load("rxnmapper")
    tokens = tokenise(own.tokenizer, ["CC(=O)O"], 32)
    assert tokens.start[0, 0] == -1 and tokens.piece(0, 0) == ""
    assert not tokens.matches(".+", words=False, at="all")[0, 0]


def _there(name):
    from interp.garden.fetch import is_fetched

    return is_fetched(name)


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
