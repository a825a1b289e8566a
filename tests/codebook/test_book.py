"""One book: what it computes, what its gradients reach, how it starts and what replaces dead codes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from interp.codebook import Codebook
from interp.results.errors import BadInput

SETTINGS = [{"similarity": s, "reduction": r, "pre_norm": p}
            for s in ("cosine", "euclidean") for r in ("sum", "mean") for p in (None, "layer", "rms")]


def literal(x, codes, k, similarity, reduction, pre_norm):
    """The paper's layer for one vector, without tensors of several."""
    if pre_norm == "layer":
        x = (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()
    if pre_norm == "rms":
        x = x / ((x * x).mean() + 1e-5).sqrt()
    score = [float(x @ c / (x.norm() * c.norm())) if similarity == "cosine" else -float((x - c).norm()) for c in codes]
    ids = sorted(range(len(codes)), key=lambda i: -score[i])[:k]
    total = torch.stack([codes[i] for i in ids]).sum(0)
    return ids, total / k if reduction == "mean" else total


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_a_book_is_the_formula(settings):
    x, codes = torch.randn(2, 3, 2, 6), 2 * torch.randn(2, 9, 6)
    book = Codebook(codes, k=3, **settings)
    ids, out = book.encode(x), book(x)
    for place in [(0, 0, 0), (1, 2, 1), (0, 1, 1)]:
        wanted, total = literal(x[place], codes[place[-1]], 3, **settings)
        assert ids[place].tolist() == wanted
        assert torch.allclose(out[place], total, atol=1e-5)
    assert torch.equal(book.decode(ids), out)


def test_one_book_and_a_group_of_one_are_the_same():
    codes, x = torch.randn(9, 6), torch.randn(4, 6)
    alone, group = Codebook(codes, k=2), Codebook(codes[None], k=2)
    assert torch.equal(alone(x), group(x[:, None])[:, 0])


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.1, 50))
def test_cosine_does_not_see_lengths(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x, codes = torch.randn(5, 4, generator=generator), torch.randn(11, 4, generator=generator)
    book = Codebook(codes, k=1)
    assert torch.equal(book.encode(x), book.encode(scale * x))


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_code_is_its_own_nearest(seed):
    codes = torch.randn(12, 4, generator=torch.Generator().manual_seed(seed))
    for similarity in ("cosine", "euclidean"):
        book = Codebook(codes, k=1, similarity=similarity)
        assert torch.equal(book(codes), codes)


# -- gradients -----------------------------------------------------------------------------------------------------


def test_the_gradient_goes_straight_through_and_to_the_chosen_codes_only():
    book, x, upstream = Codebook(torch.randn(9, 6), k=2), torch.randn(4, 6, requires_grad=True), torch.randn(4, 6)
    ids = book.encode(x)
    book(x).backward(upstream)
    assert torch.equal(x.grad, upstream)
    wanted = torch.zeros(9, 6)
    for row, chosen in zip(upstream, ids):
        for code in chosen:
            wanted[code] += row
    assert torch.allclose(book.codes.grad, wanted, atol=1e-6)
    assert wanted.any(1).logical_not().any()  # some code was not chosen


def test_the_auxiliary_loss_reaches_codes_and_never_the_model():
    book, x = Codebook(torch.randn(9, 6), k=2, pre_norm="layer"), torch.randn(4, 6, requires_grad=True)
    snap = book.snap(x)
    assert torch.allclose(snap.error, ((snap.out - F.layer_norm(x, (6,))) ** 2).sum(-1), atol=1e-5)
    snap.error.mean().backward()
    assert x.grad is None and book.codes.grad.abs().sum() > 0


def test_every_parameter_is_trained_and_nothing_is_shared_between_books():
    a, b = (Codebook(torch.randn(9, 6), k=2, pre_norm="layer") for _ in range(2))
    a.snap(torch.randn(4, 6)).error.sum().backward()
    assert all(p.grad is not None for p in a.parameters()) and [n for n, _ in a.named_parameters()] == ["codes"]
    a.reduction, a.similarity = "mean", "euclidean"
    assert (b.reduction, b.similarity) == ("sum", "cosine") and b.codes.grad is None


# -- beginnings ----------------------------------------------------------------------------------------------------


def test_kmeans_finds_clusters_in_every_group():
    centres = 10 * torch.randn(3, 5, 8)
    x = (centres[:, None] + 0.01 * torch.randn(3, 40, 5, 8)).permute(1, 2, 0, 3).reshape(200, 3, 8)
    for similarity in ("cosine", "euclidean"):
        book = Codebook.random(5, 8, groups=3, k=1, similarity=similarity)
        assert book.snap(x).error.mean().item() > 100
        book.fit(x, rounds=30)
        assert book.snap(x).error.mean().item() < 0.5 * 8 * 100  # every code moved to a cluster of its own group
        assert all((book.codes[g] - centres[g][:, None]).norm(dim=-1).amin(0).median() < 1 for g in range(3))


def test_more_rounds_of_kmeans_are_never_worse():
    x = torch.randn(300, 4)
    errors = [Codebook.random(20, 4, k=1, similarity="euclidean").fit(x, rounds=r).snap(x).error.mean().item()
              for r in (0, 1, 3, 10)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]


def test_kmeans_with_fewer_tokens_than_codes_represents_them_all():
    x = torch.randn(6, 4).repeat(3, 1)
    book = Codebook.random(50, 4, k=1, similarity="euclidean").fit(x)
    assert torch.isfinite(book.codes).all() and book.snap(x).error.max().item() < 1e-8
    assert len(book.codes.unique(dim=0)) == 50


# -- use and replacement -------------------------------------------------------------------------------------------


def test_use_is_counted_in_tokens_without_padding_in_training_only():
    book, x = Codebook(torch.randn(9, 6), k=2), torch.randn(5, 7, 6)
    real = torch.rand(5, 7, 1) > 0.3
    before = {k: v.clone() for k, v in book.state_dict().items()}
    book.eval()
    book.snap(x, real=real)
    book(x)
    assert all(torch.equal(before[k], v) for k, v in book.state_dict().items())
    book.train()
    ids = book.snap(x, real=real).ids
    wanted = [int((ids[real[..., 0]] == code).sum()) for code in range(9)]
    assert book.uses[0, 0].tolist() == wanted and book.window[0].tolist() == wanted
    book.snap(x, real=real)
    assert book.uses[0, 0].tolist() == [2 * n for n in wanted]


def test_dead_codes_of_each_group_become_inputs_of_that_group():
    book, x = Codebook.random(40, 6, groups=2, k=1, similarity="euclidean"), torch.randn(30, 2, 6) + 5
    book.train()
    book(x)
    old, alive = book.codes.detach().clone(), book.window > 0
    dead = book.replace_dead(x, torch.Generator().manual_seed(0))
    assert torch.equal(dead, ~alive) and dead.any(1).all() and alive.any(1).all()
    assert torch.equal(book.codes[alive], old[alive])
    for group in range(2):
        distance = torch.cdist(book.codes[group][dead[group]], x[:, group]).amin(1)
        assert distance.max().item() < 0.01
    assert not book.window.any() and book.uses.sum() == 60


def test_a_replaced_code_is_found_again():
    codes = torch.cat([torch.ones(1, 6), torch.randn(49, 6) - 20])  # all but one point away from everything
    book, x = Codebook(codes, k=1).train(), torch.randn(200, 6) + 5
    book(x)
    assert int((book.window > 0).sum()) == 1
    book.replace_dead(x, torch.Generator().manual_seed(0))
    book(x)
    assert int((book.window > 0).sum()) == 50


def test_what_replacement_goes_by_is_saved():
    book = Codebook.random(9, 6, k=2).train()
    book(torch.randn(4, 6))
    other = Codebook.random(9, 6, k=2, seed=1)
    other.load_state_dict(book.state_dict())
    a, b = (m.replace_dead(torch.ones(4, 6), torch.Generator().manual_seed(0)) for m in (book, other))
    assert torch.equal(a, b) and torch.equal(book.codes, other.codes) and torch.equal(book.uses, other.uses)


# -- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "says"), [
    (lambda: Codebook(torch.randn(4, 3), k=5), "k=5 codes of 4"),
    (lambda: Codebook(torch.randn(4, 3), k=0), "k from 1 to 4"),
    (lambda: Codebook(torch.randn(3), k=1), "n_codes, d"),
    (lambda: Codebook(torch.tensor([[1.0, torch.nan]]), k=1), "NaN"),
    (lambda: Codebook(torch.randn(4, 3), k=1, similarity="cosin"), "cosine"),
    (lambda: Codebook(torch.randn(4, 3), k=1, pre_norm="batch"), "layer"),
    (lambda: Codebook(torch.randn(4, 3), k=1)(torch.randn(2, 4)), "shape"),
    (lambda: Codebook(torch.randn(4, 3), k=1)(torch.tensor([1.0, torch.nan, 0])), "NaN"),
    (lambda: Codebook(torch.randn(4, 3), k=1).decode(torch.tensor([[4]])), "0 to 3"),
    (lambda: Codebook(torch.randn(4, 3), k=1).decode(torch.tensor([[-2]])), "0 to 3"),
    (lambda: Codebook(torch.randn(4, 3), k=3).encode(torch.randn(2, 3), without=torch.tensor([0, 1])), "fewer"),
])
def test_bad_input_says_what_is_wrong(make, says):
    with pytest.raises(BadInput, match=says):
        make()


def test_an_empty_slot_adds_nothing():
    book = Codebook(torch.randn(5, 3), k=2)
    assert torch.equal(book.decode(torch.tensor([3, -1])), book.codes[3])
    assert torch.equal(book.decode(torch.tensor([-1, -1])), torch.zeros(3))
