"""The tuned lens: the regression against plain least squares, its laws, and its files."""

import json

import pytest
import torch

from interp.garden.catalog import build
from interp.garden.loading import load
from interp.lens import TunedLens, fit_tuned_lens, logit_lens
from interp.lens.stream import points
from interp.lens.tuned import _Moments
from interp.results import BadFile, BadInput
from interp.tasks.corpus import corpus

SIZES = {"d_model": 8, "n_layers": 2, "n_heads": 2, "d_vocab": 23, "n_ctx": 12}


def test_without_a_ridge_it_is_weighted_least_squares():
    generator = torch.Generator().manual_seed(0)
    h, target = (torch.randn(60, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    moments = _Moments()
    moments.add(h[:40], target[:40])
    moments.add(h[40:], target[40:])
    matrix, shift = moments.solve(0.0)
    weight = 1 / target.norm(dim=-1, keepdim=True)
    wide = torch.cat([h, torch.ones(60, 1)], 1)
    literal = torch.linalg.lstsq(wide * weight, target * weight).solution
    assert torch.allclose(torch.cat([matrix, shift[None]]), literal)
    missed = ((wide @ literal - target) * weight).square().sum(1).mean()
    assert moments.error(matrix, shift) == pytest.approx(float(missed))


def test_last_depth_is_left_as_it_is():
    model, x = build("gpt", **SIZES), torch.randint(23, (10, 12), generator=torch.Generator().manual_seed(0))
    lens = fit_tuned_lens(model, x, rows=3)
    stream = torch.randn(2, 4, 8)
    assert torch.equal(lens(points(model)[-1], stream), stream)
    assert lens.n_tokens == 8 * 12
    with pytest.raises(BadInput, match="no map for 'output'"):
        lens("output", stream)


def test_a_tuned_lens_is_nearer_to_the_answer_on_other_text():
    model = load("garden/text-small")
    tokens = torch.tensor(model.tokenizer.encode(corpus("validation")[:16000], verbose=False))
    rows = tokens[: len(tokens) // 64 * 64].reshape(-1, 64)
    lens = fit_tuned_lens(model, rows[:-8])
    plain, tuned = (logit_lens(model, rows[-8:], 4, through=t).values["kl"].mean((1, 2)) for t in (None, lens))
    assert (tuned[:-1] < plain[:-1]).all() and tuned[-1] == 0
    assert all(0 < error < 1 for site, error in lens.error.items() if site != points(model)[-1])


def test_files_come_back_and_damage_is_named(tmp_path):
    model, x = build("gpt", **SIZES), torch.randint(23, (6, 12), generator=torch.Generator().manual_seed(0))
    lens = fit_tuned_lens(model, x)
    lens.save(tmp_path)
    back, stream = TunedLens.load(tmp_path), torch.randn(2, 3, 8)
    assert all(torch.equal(lens(site, stream), back(site, stream)) for site in points(model))
    assert back.frame().equals(lens.frame()) and back.ridge == lens.ridge
    facts = json.loads((tmp_path / "tuned_lens.json").read_text())
    (tmp_path / "tuned_lens.json").write_text(json.dumps(facts | {"sites": ["blocks.9.hook_resid_post"]}))
    with pytest.raises(BadFile, match="damaged"):
        TunedLens.load(tmp_path)
    (tmp_path / "tuned_lens.json").write_text("{}")
    with pytest.raises(BadFile, match="no tuned lens"):
        TunedLens.load(tmp_path)
    with pytest.raises(BadInput, match="5 or more"):
        fit_tuned_lens(model, x[:4])
