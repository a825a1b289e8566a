"""CKA and cosines between depths: invariances, a literal oracle, rows that do not match."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.architectures import build
from interp.depth.similarity import cka, similarity
from interp.depth.streams import streams
from interp.results.errors import BadInput

SIZES = dict(d_model=16, n_heads=4, d_vocab=20, n_ctx=12)


def _rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _tokens(batch=4):
    return torch.randint(0, 20, (batch, 9), generator=torch.Generator().manual_seed(1))


def _hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Song et al. 2012, equation 5, by its sums."""
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    one = np.ones(n)
    return (np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


@given(st.integers(5, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_cka_is_the_ratio_of_unbiased_hsics(n, d, seed):
    x, y = _rows(n, d, seed), _rows(n, 3, seed + 1)
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    assert cka(x, y) == pytest.approx(_hsic(k, m) / np.sqrt(_hsic(k, k) * _hsic(m, m)), abs=1e-5)


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_cka_does_not_see_rotation_scale_or_shift(seed, scale):
    x, y = _rows(20, 5, seed), _rows(20, 7, seed + 1)
    turn = torch.linalg.qr(_rows(7, 7, seed + 2)).Q
    assert cka(x, scale * (y @ turn) + _rows(1, 7, seed + 3)) == pytest.approx(cka(x, y), abs=1e-5)
    assert cka(y, 3 * y @ turn + 1) == pytest.approx(1, abs=1e-6) and cka(x, y) == pytest.approx(cka(y, x), abs=1e-6)


def test_unrelated_rows_have_no_cka_on_average_though_dimensions_outnumber_them():
    """The biased one is above 0.9 here."""
    values = [cka(_rows(30, 200, s), _rows(30, 200, s + 1000)) for s in range(40)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 40**0.5 + 1e-3


def test_a_matrix_holds_every_pair_and_one_on_its_diagonal():
    a, b = (streams(build("gpt", n_layers=n, seed=n, **SIZES), _tokens()) for n in (2, 3))
    found = similarity(a, b, "cka")
    assert found.values.shape == (3, 4) and len(found.frame()) == 12
    assert found.values[1, 2] == pytest.approx(cka(a.values[1], b.values[2]), abs=1e-6)
    for kind in ("cosine", "centred", "cka"):
        own = similarity(b, kind=kind)
        assert np.allclose(np.diag(own.values), 1, atol=1e-5) and np.allclose(own.values, own.values.T, atol=1e-5)
        assert own.figure().data


def test_cosines_are_means_over_tokens():
    a = streams(build("gpt", n_layers=2, **SIZES), _tokens())
    rows = [float(x @ y / (x.norm() * y.norm())) for x, y in zip(a.values[0], a.values[2])]
    assert similarity(a).values[0, 2] == pytest.approx(np.mean(rows), abs=1e-6)


def test_padding_gives_no_rows_and_pooling_gives_one_a_prompt():
    model = build("gpt", n_layers=2, **SIZES)
    ids, mask = torch.zeros(4, 12, dtype=torch.long), torch.zeros(4, 12, dtype=torch.long)
    ids[:, 3:], mask[:, 3:] = _tokens(), 1
    plain, padded = streams(model, _tokens()), streams(model, {"input_ids": ids, "attention_mask": mask})
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(plain.values, padded.values))
    assert torch.equal(plain.place, padded.place) and plain.place.max() == 8
    pooled = plain.pooled()
    assert torch.allclose(pooled.values[1][2], plain.values[1][plain.prompt == 2].mean(0), atol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda a, b: similarity(a, b), "differ in width"), (lambda a, b: similarity(a, kind="rsa"), "choose among"),
    (lambda a, b: similarity(a.rows(a.prompt > 0), a, "cka"), "one by one"),
    (lambda a, b: cka(torch.ones(3, 2), torch.ones(3, 2)), "4 at least"),
    (lambda a, b: cka(torch.ones(9, 2), torch.randn(9, 2)), "the same"),
])
def test_what_cannot_be_compared_is_refused(make, message):
    a = streams(build("gpt", n_layers=2, **SIZES), _tokens())
    b = streams(build("gpt", n_layers=2, **SIZES | {"d_model": 32}), _tokens())
    with pytest.raises(BadInput, match=message):
        make(a, b)
