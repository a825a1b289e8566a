"""The LSTM of the catalog against torch's own, its sites, and what an edit of each acts on."""

import pytest
import torch
from torch import nn

from interp.architectures import build
from interp.hooks.check import check_model

TOKENS = torch.randint(0, 20, (3, 9), generator=torch.Generator().manual_seed(0))
SIZES = dict(d_model=12, n_layers=2, d_vocab=20)


def _torch_lstm(model) -> nn.LSTM:
    """torch's LSTM with the weights of a model; its gates are in another order: input, forget, candidate, output."""
    d = model.module.spec.d_model
    other = nn.LSTM(d, d, num_layers=model.n_layers, batch_first=True)
    order = torch.cat([torch.arange(d), d + torch.arange(d), 3 * d + torch.arange(d), 2 * d + torch.arange(d)])
    with torch.no_grad():
        for layer, block in enumerate(model.module.blocks):
            getattr(other, f"weight_ih_l{layer}").copy_(block.lstm.of_input[order])
            getattr(other, f"weight_hh_l{layer}").copy_(block.lstm.of_hidden[order])
            getattr(other, f"bias_ih_l{layer}").copy_(block.lstm.bias[order])
            getattr(other, f"bias_hh_l{layer}").zero_()
    return other


@torch.no_grad()
def test_the_forward_is_torchs_own():
    model = build("lstm", seed=1, **SIZES)
    hidden = _torch_lstm(model)(model.module.embed(TOKENS))[0]
    assert torch.allclose(model(TOKENS), model.module.unembed(hidden), atol=1e-6)


def test_gradients_are_torchs_own():
    """The gates are computed twice, once one after the other and once for all tokens: the gradient is that of one."""
    model = build("lstm", seed=1, **SIZES).to(torch.float64)
    other = _torch_lstm(build("lstm", seed=1, **SIZES)).double()
    x = torch.randn(2, 6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(2, 6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    from interp.parts.context import Context

    context = Context(torch.zeros(2, 6, dtype=torch.long))
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = mine
    for block in model.module.blocks:
        out = block(out, context)
    (out * weight).sum().backward()
    (other(theirs)[0] * weight).sum().backward()
    assert torch.allclose(mine.grad, theirs.grad, atol=1e-10)
    d = 12
    assert torch.allclose(model.module.blocks[0].lstm.of_hidden.grad[: 2 * d], other.weight_hh_l0.grad[: 2 * d])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_law_holds(dtype):
    check_model(build("lstm", seed=0, **SIZES).to(dtype), TOKENS).raise_if_failed()


@torch.no_grad()
def test_sites_are_the_recurrence():
    model = build("lstm", seed=2, **SIZES)
    cache = model.run_with_cache(TOKENS)[1]
    for depth in range(2):
        get = {point: cache[f"blocks.{depth}.lstm.hook_{point}"] for point in (
            "input", "forget", "output", "candidate", "write", "cell", "hidden")}
        cell = torch.zeros(3, 12)
        for t in range(9):
            cell = get["forget"][:, t] * cell + get["input"][:, t] * get["candidate"][:, t]
            assert torch.allclose(get["cell"][:, t], cell, atol=1e-6)
            shown = get["output"][:, t] * torch.tanh(cell)
            assert torch.allclose(get["hidden"][:, t], shown, atol=1e-6)
        assert torch.allclose(cache[f"blocks.{depth}.hook_resid_post"], get["hidden"], atol=1e-6)
        mixed = torch.einsum("bcqk,bkc->bqc", model.mixing_matrix(cache, depth), get["write"])
        assert torch.allclose(mixed, get["cell"], atol=1e-6)


def test_an_edited_hidden_state_acts_from_the_next_token_on_and_a_write_from_its_own():
    model = build("lstm", seed=2, **SIZES)
    model.module.requires_grad_(False)
    plain = model(TOKENS)

    def at_4(value, site):
        value = value.clone()
        value[:, 4] += 1.0
        return value

    for point, first in (("hidden", 5), ("write", 4), ("forget", 4), ("cell", 4), ("output", 4)):
        moved = (model.run_with_hooks(TOKENS, [(f"blocks.1.lstm.hook_{point}", at_4)]) - plain).abs().amax((0, 2))
        assert (moved[:first] == 0).all() and float(moved[first]) > 1e-6
        # the cell is shown at its own position; what goes on in time are writes, gates and hidden states
        assert (float(moved[first + 1]) > 1e-7) == (point in ("hidden", "write", "forget"))


@torch.no_grad()
def test_padding_on_the_left_is_not_read():
    model = build("lstm", seed=2, **SIZES)
    padded = torch.cat([torch.zeros(3, 2, dtype=torch.long), TOKENS], 1)
    mask = torch.cat([torch.zeros(3, 2, dtype=torch.long), torch.ones_like(TOKENS)], 1)
    assert torch.allclose(model({"input_ids": padded, "attention_mask": mask})[:, 2:], model(TOKENS), atol=1e-6)


def test_the_start_is_torchs_with_an_open_forget_gate():
    lstm = build("lstm", seed=0, d_model=64, n_layers=1).module.blocks[0].lstm.requires_grad_(False)
    assert lstm.of_input.abs().max() <= 1 / 8 and float(lstm.of_input.std()) == pytest.approx(1 / 8 / 3**0.5, rel=0.05)
    assert (lstm.bias[64:128] == 1).all() and lstm.bias.sum() == 64
