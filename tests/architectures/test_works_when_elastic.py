"""MatFormer (85): slices of its weights are models, and the first units matter most once trained so."""

import pytest
import torch

import interp
from interp.architectures import build
from interp.architectures.elastic import extract, set_granularity
from interp.hooks.check import check_model
from interp.results.errors import BadInput
from tests.architectures.training import next_token_loss, train

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(3))


def _model(granularity: int = 4):
    model = build("matformer", seed=0, granularity=granularity, **SIZES).to(torch.float64)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return model


@pytest.mark.parametrize("granularity", [1, 2, 3, 4, (1, 4, 2)])
def test_works_when_85_matformer_slice_equals_the_forward_of_its_granularity(granularity):
    model = _model()
    small = extract(model, granularity)
    with torch.no_grad():
        assert torch.equal(set_granularity(model, granularity)(_tokens()), small(_tokens()))
    widths = [block.mlp.up.out_features for block in small.module.blocks]
    each = [granularity] * 3 if isinstance(granularity, int) else granularity
    assert widths == [128 // 2 ** (4 - g) for g in each]


def test_full_granularity_is_gpt():
    model, gpt = _model(), build("gpt", seed=0, **SIZES).to(torch.float64)
    gpt.module.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.allclose(model(_tokens()), gpt(_tokens()), atol=1e-12)


def test_a_smaller_granularity_is_the_full_one_with_later_units_off():
    model = _model()
    small = set_granularity(_model(), 2)

    def off(value, site):
        return torch.where(torch.arange(value.shape[-1]) < 32, value, 0)

    out = model.run_with_hooks(_tokens(), [("*mlp.hook_post", off)])
    assert torch.allclose(out, small(_tokens()), atol=1e-12)


def test_every_granularity_keeps_the_contract():
    for granularity in (1, 3):
        check_model(_model(granularity), _tokens()).raise_if_failed()


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadInput, match="no nested MLPs"):
        set_granularity(build("gpt", **SIZES), 2)
    for wrong in (5, (1, 2)):
        with pytest.raises(BadInput, match="do not fit 3 depths"):
            set_granularity(_model(), wrong)
    with pytest.raises(BadInput, match="multiple of 8"):
        build("matformer", d_mlp=12)


@pytest.mark.slow
def test_works_when_85_matformer_early_units_carry_more_of_the_effect():
    """Tokens that are a fixed function of the two before: an eighth of the units, the first or the last one, off."""
    table = torch.randint(0, 12, (12, 12), generator=torch.Generator().manual_seed(1))

    def batch(generator, n=64):
        tokens = torch.randint(0, 12, (n, 12), generator=generator)
        for t in range(2, 12):
            tokens[:, t] = table[tokens[:, t - 2], tokens[:, t - 1]]
        return tokens

    def loss(model, generator):
        set_granularity(model, int(torch.randint(1, 5, (1,), generator=generator)))
        return next_token_loss(model, batch(generator), 1)

    model = build("matformer", seed=0, d_model=32, n_layers=2, n_heads=4, d_mlp=64, d_vocab=12, n_ctx=12)
    set_granularity(train(model, loss, 400), 4)
    held = batch(torch.Generator().manual_seed(5), 256)
    losses = {}
    for name, units in (("none", ()), ("first", range(8)), ("last", range(56, 64))):
        with torch.no_grad(), model.edit(*(interp.Ablate(f"blocks.{d}.mlp.hook_post", unit=u)
                                           for d in range(2) for u in units)):
            losses[name] = float(next_token_loss(model, held, 1))
    assert losses["first"] - losses["none"] > 2 * max(losses["last"] - losses["none"], 0.0)
    assert losses["first"] - losses["none"] > 0.1  # nats
