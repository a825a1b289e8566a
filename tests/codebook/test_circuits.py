"""Which codes write which code, against codes that are taken away in truth."""

import pytest
import torch

from interp import load
from interp.codebook import attach
from interp.codebook.circuits import Code, code_circuit, commonest, suppressed
from interp.garden.catalog import build
from interp.results.errors import BadInput

SITES = ["blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"]


def made(**settings):
    model = build("gpt", seed=0, d_model=16, n_layers=2, n_heads=2, d_vocab=11, n_ctx=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)  # at its start, a model's blocks hardly read what others write
    x = torch.randint(11, (6, 8), generator=torch.Generator().manual_seed(0))
    return attach(model, SITES, n_codes=10, init="kmeans", example=x, **settings), x


def codes(books, x, n=2):
    return ([c for site in books.sites[:-1] for c in commonest(books, x, site, n)],
            [c for site in books.sites[1:] for c in commonest(books, x, site, n)])


@pytest.mark.parametrize("settings", [
    {"k": 1, "pre_norm": "layer"}, {"k": 2}, {"k": 2, "reduction": "mean", "similarity": "euclidean"},
])
def test_exact_rules_with_books_held_equal_the_true_intervention(settings):
    books, x = made(**settings)
    sources, targets = codes(books, x)
    found = code_circuit(books, x, sources, targets, rules="ablation").frame()
    truth = suppressed(books, x, sources, targets, held=True).frame()
    assert found[["source", "target", "tokens"]].equals(truth[["source", "target", "tokens"]])
    assert found["effect"].to_numpy() == pytest.approx(truth["effect"].to_numpy(), abs=2e-6)
    assert truth["effect"].abs().max() > 1e-3


def test_a_code_that_comes_later_writes_nothing_and_books_are_left_as_they_were():
    books, x = made(k=1)
    before = books(x)
    late = commonest(books, x, "blocks.1.attn.hook_z", 1)
    early = commonest(books, x, "blocks.0.hook_mlp_out", 2)
    assert code_circuit(books, x, late, early).frame()["effect"].tolist() == [0.0, 0.0]
    assert suppressed(books, x, late, early).frame()["effect"].tolist() == [0.0, 0.0]
    assert torch.equal(books(x), before)


@pytest.mark.parametrize("rules", ["cdt", "tangent"])
@pytest.mark.parametrize("through", ["held", "straight"])
def test_rules_give_parts_through_books(rules, through):
    books, x = made(k=1, pre_norm="layer")
    sources, targets = codes(books, x, n=1)
    found = code_circuit(books, x, sources, targets, rules=rules, through=through)
    assert found.frame()["effect"].abs().max() > 0 and found.figure().data


def test_straight_books_let_through_what_held_ones_stop():
    """From the first head to the last MLP there are two books that effects can pass by, or through."""
    books, x = made(k=1)
    source, target = commonest(books, x, "blocks.0.attn.hook_z", 1), commonest(books, x, "blocks.1.hook_mlp_out", 1)
    held, straight = (code_circuit(books, x, source, target, rules="ablation", through=through).frame()["effect"][0]
                      for through in ("held", "straight"))
    assert abs(held - straight) > 1e-6


def test_suppressing_counts_the_tokens_that_lose_the_target():
    books, x = made(k=1)
    source = commonest(books, x, "blocks.0.attn.hook_z", 1)[0]
    target = commonest(books, x, "blocks.1.attn.hook_z", 1)[0]
    row = suppressed(books, x, [source], [target]).frame().iloc[0]
    clean = books.codes(x)[target.site][..., target.group, 0] == target.code
    with books.model.edit(books.suppress(source.site, source.code, head=source.group)):
        found = books.model.read(x, [target.site])[target.site]  # what the book gives now: its code's vector
    still = (found[:, :, target.group] == books.of(target.site).codes[target.group, target.code]).all(-1)
    assert row["tokens"] == int(clean.sum())
    assert row["dropped"] == pytest.approx(float((~still)[clean].float().mean()))


@pytest.mark.parametrize(("code", "says"), [
    (Code("blocks.0.attn.hook_z", 0, 99), "groups of 10 codes"), (Code("blocks.0.attn.hook_z", 7, 0), "2 groups"),
])
def test_codes_that_are_not_there_are_refused(code, says):
    books, x = made(k=1)
    with pytest.raises(BadInput, match=says):
        code_circuit(books, x, [code], commonest(books, x, "blocks.1.hook_mlp_out", 1))


def test_bad_input_says_what_to_do():
    books, x = made(k=1)
    source, target = commonest(books, x, "blocks.0.attn.hook_z", 1), commonest(books, x, "blocks.1.hook_mlp_out", 1)
    with pytest.raises(BadInput, match="through='hold'.*held"):
        code_circuit(books, x, source, target, through="hold")
    unused = (books.of("blocks.0.attn.hook_z").count(books.codes(x)["blocks.0.attn.hook_z"]) == 0).nonzero().tolist()
    if unused:
        with pytest.raises(BadInput, match="active nowhere"):
            code_circuit(books, x, [Code("blocks.0.attn.hook_z", *unused[0])], target)


def test_padding_is_no_token():
    model = load("garden/text-small")
    ids = torch.randint(5, 1000, (4, 12), generator=torch.Generator().manual_seed(0))
    padded = {"input_ids": torch.nn.functional.pad(ids, (0, 7), value=7),
              "attention_mask": torch.nn.functional.pad(torch.ones_like(ids), (0, 7))}
    books = attach(model, ["blocks.0.attn.hook_z", "blocks.2.attn.hook_z"], n_codes=20, k=2, init="kmeans", example=ids)
    sources, targets = (commonest(books, ids, site, 3) for site in books.sites)
    assert sources == commonest(books, padded, books.sites[0], 3)
    for ask in (code_circuit, suppressed):
        plain, with_padding = ask(books, ids, sources, targets).frame(), ask(books, padded, sources, targets).frame()
        assert plain["tokens"].tolist() == with_padding["tokens"].tolist()
        assert with_padding["effect"].to_numpy() == pytest.approx(plain["effect"].to_numpy(), abs=1e-5)
