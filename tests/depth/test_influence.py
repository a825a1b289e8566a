"""Block and macro influence: the formula, the identity at the last block, invariances."""

import pytest
import torch

from interp.architectures import build
from interp.depth.influence import block_influence, block_influences, macro_influences

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)
NAMES = ["gpt", "post-norm", "parallel", "looped", "peri-ln", "ladder"]


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def _cosine(a, b):
    rows = list(zip(a.flatten(0, 1), b.flatten(0, 1)))
    return sum(float(x @ y / (x.norm() * y.norm())) for x, y in rows) / len(rows)


def test_block_influence_is_one_minus_the_mean_cosine():
    a, b = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    assert block_influence(a, b) == pytest.approx(1 - _cosine(a, b), abs=1e-6)
    assert block_influence(a, 3 * a) == pytest.approx(0, abs=1e-6) and block_influence(a, -a) == pytest.approx(2)
    assert block_influence(5 * a, 0.1 * b) == pytest.approx(block_influence(a, b), abs=1e-6)
    shift = torch.full((7,), 100.0)
    assert block_influence(a + shift, b + shift) < 0.01  # a shared mean hides every difference
    assert block_influence(a + shift, b + shift, centred=True) == pytest.approx(
        block_influence(a, b, centred=True), abs=1e-3)


def test_padding_does_not_count():
    a, b = torch.randn(2, 5, 7), torch.randn(2, 5, 7)
    real = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0]])
    assert block_influence(a, b, real) == pytest.approx(block_influence(a[:, :2], b[:, :2]), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_last_blocks_macro_influence_is_its_block_influence(name):
    model = build(name, **SIZES)
    own, end = block_influences(model, _tokens()), macro_influences(model, _tokens())
    assert list(own) == list(end) and end["blocks.3"] == pytest.approx(own["blocks.3"], abs=1e-6)
    assert all(value >= -1e-6 for value in (*own.values(), *end.values()))


def test_macro_influence_is_what_skipping_a_block_does_to_the_end():
    model, x = build("gpt", **SIZES), _tokens()
    block = model.module.blocks[1]
    clean = model.run_with_cache(x)[1]["blocks.3.hook_resid_post"]
    block.forward = lambda stream, context: stream
    without = model.run_with_cache(x, "blocks.3.hook_resid_post")[1]["blocks.3.hook_resid_post"]
    del block.forward
    assert macro_influences(model, x)["blocks.1"] == pytest.approx(1 - _cosine(clean, without), abs=1e-6)
