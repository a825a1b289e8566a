"""Steering side by side and blind reading, against small cases by hand."""

import pytest
import torch

from interp.codebook import TokenCodes, attach, generate, perplexity
from interp.codebook.blind_reading import blind
from interp.codebook.choosing import contexts, influence, log_chance, spelled, strongest
from interp.codebook.circuits import Code
from interp.codebook.steering import activated, addition, steer
from interp.codebook.tokens import tokenise
from interp.garden.catalog import build
from interp.garden.loading import load
from interp.results.errors import BadInput
from interp.results.estimate import binomial
from interp.tasks.corpus import documents

SITE = "blocks.2.attn.hook_z"


@pytest.fixture(scope="module")
def model():
    return load("garden/text-small")


@pytest.fixture(scope="module")
def tokens(model):
    return tokenise(model.tokenizer, [d.text[:600] for d in documents() if d.split == "test"][:12], 64)


@pytest.fixture(scope="module")
def books(model, tokens):
    return attach(model, SITE, n_codes=30, k=3, init="kmeans", example=tokens.ids[:8, :40])


# -- steering ------------------------------------------------------------------------------------------------------


def test_ways_are_generated_from_the_same_random_numbers_and_counted(books, model):
    ways = {"model": None, "books": books, "codes": activated(books, [Code(SITE, 1, 5)], every_slot=True)}
    found = steer(books, ["The people", "We"], ways, "the|of", samples=3, length=4, seed=2)
    assert found.frame()["way"].tolist() == list(ways) and len(found.texts) == 18
    ids = torch.tensor([model.tokenizer.encode("We")] * 3)
    made = generate(model, ids, 4, ways["codes"], seed=3)  # a prompt's own seed
    rows = found.texts[(found.texts["way"] == "codes") & (found.texts["prompt"] == "We")]
    assert rows["text"].tolist() == [model.tokenizer.decode(row) for row in made[:, ids.shape[1] :].tolist()]
    assert rows["perplexity"].tolist() == pytest.approx(perplexity(model, made, ids.shape[1]).tolist())
    words = {"the", "of"}
    naming = [bool(words & set(text.replace(",", " ").replace(".", " ").split())) for text in rows["text"]]
    assert rows["topic"].tolist() == naming
    share = found.texts.query("way == 'codes'")["topic"]
    assert found.rates["codes"] == binomial(share.sum(), len(share), "texts")
    assert found.figure().data
    with pytest.raises(BadInput, match="no regular expression"):
        steer(books, ["We"], ways, "(")
    for given in ("We", []):
        with pytest.raises(BadInput, match="a list of prompts"):
            steer(books, given, ways, "the")
    with pytest.raises(BadInput, match="at least one sample"):
        steer(books, ["We"], ways, "the", samples=0)
    with pytest.raises(BadInput, match="1 or more"):
        generate(model, ids, 0)
    room = model.map.n_ctx - ids.shape[1]
    with pytest.raises(BadInput, match=f"do not fit the context of text-small, {model.map.n_ctx}; at most {room} do"):
        steer(books, ["We"], ways, "the", length=room + 1)


def test_clean_ways_run_in_the_model_before_it_was_trained(tokens):
    model = build("gpt", seed=0, d_model=16, n_layers=3, n_heads=2, d_vocab=1024, n_ctx=64)
    model.tokenizer = load("garden/text-small").tokenizer
    books = attach(model, SITE, n_codes=6, k=1)
    ids = torch.tensor([model.tokenizer.encode("We")] * 2)
    before = generate(model, ids, 4, seed=0)
    books.train((tokens.ids[:4, :20], tokens.ids[:4, 1:21]), steps=2, batch=2, rate=0.1, model_rate=0.1)
    found = steer(books, ["We"], {"none": None, "books": books}, "the", samples=2, length=4)
    texts = found.texts["text"].tolist()
    assert texts[:2] == [model.tokenizer.decode(row) for row in before[:, ids.shape[1] :].tolist()]
    assert texts[2:] != texts[:2]


def test_rates_between_two_ways_are_read_at_equal_perplexity(books):
    import pandas as pd

    from interp.codebook.steering import Steered
    from interp.results.estimate import bootstrap_mean

    texts = pd.DataFrame({"way": ["a", "b"], "perplexity": [10.0, 1000.0], "topic": [False, True]})
    rates = {w: bootstrap_mean(torch.tensor([float(v), float(v)]), unit="texts") for w, v in (("a", 0), ("b", 1))}
    found = Steered(texts, rates, "x")
    assert found.rate_at(100.0, ["a", "b"]) == pytest.approx(0.5)
    assert found.rate_at(5.0, ["a", "b"]) != found.rate_at(5.0, ["a", "b"])  # NaN: nothing is that fluent


def test_codes_of_a_head_take_slots_of_their_own(books, tokens):
    edited = activated(books, [Code(SITE, 0, 4), Code(SITE, 0, 9), Code(SITE, 2, 7)])
    with books.model.edit(edited):
        pass
    x = tokens.ids[:2, :10]
    kept = {}
    from interp.codebook.books import Watched

    with books.model.edit(Watched(books, lambda site, book, snap, real: kept.update(ids=snap.ids), edited.changes)):
        books.model(x)
    assert (kept["ids"][..., 0, :] == 4).any(-1).all() and (kept["ids"][..., 0, :] == 9).any(-1).all()
    assert (kept["ids"][..., 2, :] == 7).any(-1).all()
    with pytest.raises(BadInput, match="no more than k=3"):
        activated(books, [Code(SITE, 0, i) for i in range(4)])


def test_the_chance_of_whole_words_is_that_of_their_tokens_one_by_one(books, tokens):
    before, words, code = tokens.ids[:2, :12], [[5], [9, 3], [7, 7, 2], [7, 4], [8]], Code(SITE, 1, 3)

    @torch.no_grad()
    def chance(edit) -> torch.Tensor:
        rows = []
        for context in before.tolist():
            total = 0.0
            for word in words:
                product = 1.0
                for i, token in enumerate(word):
                    with books.model.edit(edit):
                        product *= books.model(torch.tensor([context + word[:i]]))[0, -1].softmax(-1)[token].item()
                total += product
            rows.append(total)
        return torch.tensor(rows).log()

    plain, active = chance(books), chance(books.activate(SITE, 3, head=1))
    assert torch.allclose(log_chance(books, before, words), plain, atol=1e-4)
    assert torch.allclose(log_chance(books, before, words, [code]), active, atol=1e-4)
    assert torch.equal(log_chance(books, before, [*words, [9, 3, 1], [5, 5], [8]]), log_chance(books, before, words))
    found = influence(books, before, [code, Code(SITE, 0, 2)], words)
    assert float(found[0]) == pytest.approx(float((active - plain).mean()), abs=1e-4) and found.shape == (2,)


def test_contexts_end_where_words_do_and_words_are_spelled_behind_a_space(model):
    texts = [d.text[:3000] for d in documents() if d.split == "train"][:5]
    found = contexts(model.tokenizer, texts, 6, 20, seed=1)
    assert found.shape == (6, 20) and torch.equal(found, contexts(model.tokenizer, texts, 6, 20, seed=1))
    for row in found.tolist():
        said = model.tokenizer.decode(row)
        assert any(text[text.index(said) + len(said)] == " " for text in texts if said in text)
    assert model.tokenizer.decode(spelled(model.tokenizer, ["whale"])[0]) == " whale"
    with pytest.raises(BadInput, match="none of 1 texts"):
        contexts(model.tokenizer, ["short"], 1, 20)
    with pytest.raises(BadInput, match="at least one"):
        spelled(model.tokenizer, [])


def test_the_strongest_codes_of_every_head():
    codes = [Code("a", 0, 1), Code("a", 0, 2), Code("a", 1, 3), Code("b", 0, 4), Code("a", 0, 5)]
    gains = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.3])
    assert strongest(codes, gains) == [codes[3], codes[1], codes[2]]
    assert strongest(codes, gains, per_book=2) == [codes[3], codes[1], codes[4], codes[2]]


def test_addition_is_the_difference_of_two_means(model, tokens):
    site = "blocks.1.hook_resid_post"
    found = addition(model, tokens, "war|peace", site, rows=5)
    about = tokens.matches("war|peace").any(1)
    value = model.read(tokens.ids, [site])[site]
    means = [value[rows][tokens.real[rows]].mean(0) for rows in (about, ~about)]
    assert torch.allclose(found.vector, means[0] - means[1], atol=1e-4)
    with pytest.raises(BadInput, match="xyzzy"):
        addition(model, tokens, "xyzzy", site)


# -- blind reading -------------------------------------------------------------------------------------------------


def written(rule, rows=40, length=30, seed=0):
    """Token codes whose single code 1 is active where `rule(ids)` says, and code 0 elsewhere."""
    model = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=20, n_ctx=length)
    books = attach(model, "blocks.0.hook_mlp_out", n_codes=2, k=1)
    ids = torch.randint(20, (rows, length), generator=torch.Generator().manual_seed(seed))
    found = TokenCodes.of(books, ids, vocab="abcdefghijklmnopqrst")
    found.codes["blocks.0.hook_mlp_out"] = rule(ids).long()[..., None, None]
    return found


def row_of_code_one(found):
    read = blind(found, n=2, seed=0)
    return read, read.table.set_index("code").loc[1]


def test_a_reader_tells_a_code_that_stands_for_a_token_or_for_the_one_before():
    read, row = row_of_code_one(written(lambda ids: ids == 3))
    assert row["auc"] > 0.95 and all("[d]" in text for text in row["shown"])
    _, row = row_of_code_one(written(lambda ids: ids.roll(1, 1) == 3))
    assert row["auc"] > 0.9
    assert read.eligible == read.live == 2 and read.figure().data


def test_a_reader_cannot_tell_a_code_that_is_active_at_random():
    noise = torch.rand(40, 30, generator=torch.Generator().manual_seed(5)) < 0.2
    _, row = row_of_code_one(written(lambda ids: noise))
    assert row["auc"] == pytest.approx(0.5, abs=0.2)


def test_codes_that_are_hardly_active_are_not_asked_about():
    with pytest.raises(BadInput, match="no code is active"):
        blind(written(lambda ids: torch.ones_like(ids)), least=10_000)
    found = written(lambda ids: (ids == 3) & (torch.arange(40) < 2)[:, None])
    assert blind(found, seed=0).eligible == 1


@pytest.mark.parametrize("least", [0, 10])
def test_a_code_that_is_active_on_every_held_out_token_is_not_asked_about(least):
    found = written(lambda ids: torch.ones_like(ids))
    found.codes["blocks.0.hook_mlp_out"][found.select] = (found.tokens.ids[found.select] == 3).long()[..., None, None]
    with pytest.raises(BadInput, match="but not on all"):
        blind(found, least=least)
    found.codes["blocks.0.hook_mlp_out"][int((~found.select).nonzero()[0, 0]), 0] = 0
    read = blind(found, least=1)
    assert read.table["code"].tolist() in ([0, 1], [1, 0]) and read.live == read.eligible == 2
