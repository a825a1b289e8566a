"""iTransformer (68): equal to torch's own encoder around a linear map, equivariant, and finds a planted coupling."""

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool1d

from interp.architectures import build
from interp.results.errors import BadInput
from tests.architectures.training import train

SIZES = dict(d_model=32, n_layers=2, n_heads=4, d_mlp=48, n_steps=16, horizon=4)


def _series(n: int = 2, variates: int = 5) -> torch.Tensor:
    return torch.randn(n, 16, variates, generator=torch.Generator().manual_seed(3), dtype=torch.float64).cumsum(1)


def _model():
    model = build("itransformer", seed=0, **SIZES).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def test_forward_equals_torchs_post_norm_encoder_of_normalised_series():
    model, series = _model(), _series()
    module, x = model.module, series.transpose(1, 2)
    mean, scale = x.mean(-1, keepdim=True), ((x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
    with torch.no_grad():
        tokens = module.embed((x - mean) / scale)
        for block in module.blocks:
            layer = nn.TransformerEncoderLayer(32, 4, 48, 0.0, "gelu", batch_first=True, dtype=torch.float64).eval()
            a, qkv = block.attn, (block.attn.q, block.attn.k, block.attn.v)
            theirs = {
                "self_attn.in_proj_weight": torch.cat([p.weight for p in qkv]),
                "self_attn.in_proj_bias": torch.cat([p.bias for p in qkv]),
                "self_attn.out_proj.weight": a.o.weight, "self_attn.out_proj.bias": a.o.bias,
                "linear1.weight": block.mlp.up.weight, "linear1.bias": block.mlp.up.bias,
                "linear2.weight": block.mlp.down.weight, "linear2.bias": block.mlp.down.bias,
                "norm1.weight": block.ln1.weight, "norm1.bias": block.ln1.bias,
                "norm2.weight": block.ln2.weight, "norm2.bias": block.ln2.bias,
            }
            layer.load_state_dict(theirs)
            tokens = layer(tokens)
        wanted = (module.unembed(module.ln_final(tokens)) * scale + mean).transpose(1, 2)
        assert torch.allclose(model(series), wanted, atol=1e-10)


def test_works_when_68_itransformer_permuted_variates_give_permuted_forecasts():
    model, series = _model(), _series()
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(model(series[:, :, order]), model(series)[:, :, order], atol=1e-12)
    assert model(_series(1, 9)).shape == (1, 4, 9)  # any number of them


def test_a_shift_and_a_scale_of_one_series_are_those_of_its_forecast():
    """Up to the 1e-5 that its deviation is kept from zero with; the others' forecasts stay as they are."""
    model, series = _model(), _series()
    changed = series.clone()
    changed[:, :, 1] = 3 * series[:, :, 1] + 7
    wanted = model(series).detach().clone()
    wanted[:, :, 1] = 3 * wanted[:, :, 1] + 7
    assert torch.allclose(model(changed), wanted, atol=1e-3)


def test_series_of_another_length_are_refused():
    with pytest.raises(BadInput, match="16, variates"):
        _model()(_series()[:, :12])


@pytest.mark.slow
def test_works_when_68_itransformer_recovers_a_planted_coupling_and_beats_a_linear_baseline():
    """Series 1 is series 0 four steps later, the others are noise. Its attention goes to series 0, and its forecast is
    better than the least-squares map from every series' own past (the linear models of this literature; one map from
    all series at once would do as well as the planted truth)."""
    def draw(generator, n=64):
        x = torch.randn(n, 20, 4, generator=generator)
        x[:, :, 0] = avg_pool1d(torch.randn(n, 1, 22, generator=generator), 3, 1)[:, 0] * 3**0.5
        x[:, 4:, 1] = x[:, :-4, 0] + 0.1 * torch.randn(n, 16, generator=generator)
        return x[:, :16], x[:, 16:]

    def loss(model, generator):
        past, future = draw(generator)
        return (model(past) - future).pow(2).mean()

    model = train(build("itransformer", seed=0, d_model=32, n_layers=1, n_heads=2), loss, 600)
    past, future = draw(torch.Generator().manual_seed(5), 512)
    own, wanted = draw(torch.Generator().manual_seed(6), 4096)
    inputs = torch.cat([own[:, :, 1], torch.ones(4096, 1)], 1)
    linear = torch.linalg.lstsq(inputs, wanted[:, :, 1]).solution
    baseline = (torch.cat([past[:, :, 1], torch.ones(512, 1)], 1) @ linear - future[:, :, 1]).pow(2).mean()
    forecast, cache = model.run_with_cache(past)
    assert (forecast - future)[:, :, 1].pow(2).mean() < 0.5 * baseline
    pattern = cache["blocks.0.attn.hook_pattern"].mean((0, 1))
    assert pattern[1, 0] > 0.7 and pattern[[0, 2, 3]].max() < 0.6
