"""Sharing layers: full rank is the model itself, less rank is a best approximation, and wrong requests are refused."""

import pytest
import torch

from interp.architectures import build
from interp.hooks.check import check_model
from interp.results.errors import BadInput
from interp.surgery.recursive import recursive

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)


def _model(name="gpt"):
    model = build(name, seed=0, **SIZES).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def _error(model, other) -> float:
    with torch.no_grad():
        return float((model(_tokens()) - other(_tokens())).abs().max())


@pytest.mark.parametrize("start", ["stepwise", "average", "lower"])
@pytest.mark.parametrize("n_shared", [1, 2])
@pytest.mark.parametrize("name", ["gpt", "llama", "attn-only", "peri-ln"])
def test_full_rank_is_the_model_itself(name, n_shared, start):
    assert _error(_model(name), recursive(_model(name), n_shared, 64, start)) < 1e-9


def test_lower_maps_are_the_first_layers_and_rank_zero_is_a_loop():
    model = _model()
    loop = recursive(model, 2, 0, "lower")
    for depth in range(4):
        assert torch.equal(loop.module.blocks[depth].mlp.up.weight, model.module.blocks[depth % 2].mlp.up.weight)
        assert torch.equal(loop.module.blocks[depth].ln1.weight, model.module.blocks[depth].ln1.weight)


def test_every_rank_is_the_best_of_its_rank():
    """Frobenius error is the root of the squares of the singular values that are left (Eckart and Young 1936)."""
    model = _model()
    for rank in (1, 5):
        other = recursive(model, 1, rank, "average")
        shared = torch.stack([block.attn.q.weight for block in model.module.blocks]).mean(0)
        for block, relaxed in zip(model.module.blocks, other.module.blocks):
            left = torch.linalg.svdvals(block.attn.q.weight - shared)[rank:]
            error = (block.attn.q.weight - relaxed.attn.q.weight).norm()
            assert torch.allclose(error, left.pow(2).sum().sqrt(), atol=1e-10)


def test_it_keeps_the_contract_and_shares_what_it_says():
    other = recursive(_model(), 1, 2, "average")
    check_model(other, _tokens()).raise_if_failed()
    assert len({block.attn.q.shared for block in other.module.blocks}) == 1
    per_map = 4 * 2 * (16 + 16)  # four depths, rank 2
    found = sum(p.numel() for name, p in other.module.named_parameters() if ".attn.q." in name)
    assert found == 16 * 16 + per_map + 4 * 16


@pytest.mark.parametrize(("name", "n_shared", "rank", "message"), [
    ("gpt", 3, 2, "loops of 3"), ("looped", 1, 2, "untied"), ("gpt", 0, 2, "at least 1"),
    ("dual-stream", 1, 2, "parts"),
])
def test_what_cannot_be_shared_is_refused(name, n_shared, rank, message):
    with pytest.raises(BadInput, match=message):
        recursive(build(name, **SIZES), n_shared, rank)
