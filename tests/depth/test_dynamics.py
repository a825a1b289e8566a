"""Dynamics of streams made by hand, and what noise does where it can be said."""

import numpy as np
import pytest
import torch
from torch import nn

from interp.architectures import build
from interp.depth.dynamics import angles, coherence, dynamics, effective_rank, self_correction, stable_rank
from interp.results.errors import BadInput

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def test_ranks_and_coherence_of_updates_by_hand():
    same = torch.ones(5, 4)
    assert coherence(same) == pytest.approx(1) and stable_rank(same) == pytest.approx(1)
    assert effective_rank(same) == pytest.approx(1, abs=1e-4)
    spread = torch.diag(torch.tensor([2.0, 1.0, 1.0]))
    assert stable_rank(spread) == pytest.approx(6 / 4)
    share = np.array([0.5, 0.25, 0.25])
    assert effective_rank(spread) == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert coherence(torch.tensor([[1.0, 0.0], [0.0, 9.0]])) == pytest.approx(0.5**0.5)
    assert stable_rank(torch.zeros(3, 3)) == effective_rank(torch.zeros(3, 3)) == 0
    assert float(angles(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-9]))) == pytest.approx(1e-9, rel=1e-3)


def test_the_table_is_that_of_the_streams_and_of_every_type():
    model, x = build("gpt", **SIZES), _tokens()
    found = dynamics(model, x, types=np.array([["a"] * 4 + ["b"] * 5] * 3))
    cache = model.run_with_cache(x)[1]
    rows = found.frame().set_index(["depth", "type"])
    a, b = (cache[f"blocks.{d}.hook_resid_pre"][:, 4:].flatten(0, 1) for d in (1, 2))
    last = cache["blocks.3.hook_resid_post"][:, 4:].flatten(0, 1)
    cosine = float(nn.functional.cosine_similarity(a, last).mean())
    assert rows.loc[(1, "b"), "convergence"] == pytest.approx(cosine, abs=1e-5)
    assert rows.loc[(1, "b"), "stable_rank"] == pytest.approx(stable_rank(b - a), rel=1e-4)
    assert rows.loc[(4, "all"), "convergence"] == pytest.approx(1) and np.isnan(rows.loc[(4, "all"), "speed"])
    assert found.tokens == {"all": 27, "a": 12, "b": 15} and len(rows) == 15
    assert found.figure("coherence").data
    with pytest.raises(BadInput, match="no measure"):
        found.figure("momentum")


def test_noise_stays_what_it_is_where_blocks_write_nothing():
    model = build("gpt", **SIZES)
    with torch.no_grad():
        for block in model.module.blocks:
            for part in (block.attn.o, block.mlp.down):
                part.weight.zero_(), part.bias.zero_()
    found = self_correction(model, _tokens(), starts=[0, 2], draws=1)
    assert np.allclose(found.angle[0], 1, atol=1e-5) and np.allclose(found.distance[1, 2:], 1, atol=1e-5)
    assert np.isnan(found.angle[1, :2]).all() and np.allclose(found.rate, 0, atol=1e-5)
    assert len(found.frame()) == 8 and found.figure().data


def test_a_growing_stream_shrinks_the_angle_and_not_the_distance():
    """Writes that do not depend on the stream: the trap that the two curves are shown for."""
    model = build("gpt", **SIZES)
    with torch.no_grad():
        for block in model.module.blocks:
            for part in (block.attn.o, block.mlp.down):
                part.weight.zero_()
                part.bias.fill_(1.0)
    found = self_correction(model, _tokens(), starts=[0], draws=1)
    assert found.rate[0] < -0.3 and np.allclose(found.distance[0], 1, atol=1e-4)


def test_noise_behind_the_last_block_is_refused():
    with pytest.raises(BadInput, match="depth points 0 to 3"):
        self_correction(build("gpt", **SIZES), _tokens(), starts=[4])
