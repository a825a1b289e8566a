"""Pre-LN = Pre-RMSNorm = Pre-CRMSNorm, exactly and there and back."""

import pytest
import torch
from torch import nn

from interp.architectures import build
from interp.hooks.check import check_model
from interp.parts.rms_norms import CRMSNorm, RMSNormShift
from interp.results.errors import BadInput
from interp.surgery.recentre import compress, expand, recentre, relayer

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _shaken(name: str, dtype=torch.float32):
    model = build(name, seed=0, **SIZES).to(dtype)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p))
    return model


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(3))


def _gap(one, other) -> float:
    with torch.no_grad():
        a, b = one(_tokens()), other(_tokens())
    return float((a - b).abs().max() / a.abs().max())


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("name", ["gpt", "parallel", "rotary", "attn-only", "looped"])
def test_every_conversion_has_the_logits_of_the_model(name, dtype, most):
    model = _shaken(name, dtype)
    rms = recentre(model)
    narrow = compress(rms)
    assert {type(m) for m in rms.module.modules() if "Norm" in type(m).__name__} == {RMSNormShift}
    assert {type(m) for m in narrow.module.modules() if "Norm" in type(m).__name__} == {CRMSNorm}
    assert narrow.module.embed.embedding_dim == SIZES["d_model"] - 1
    wide = expand(narrow)
    back = relayer(wide)
    assert any(isinstance(m, nn.LayerNorm) for m in back.module.modules())
    for other in (rms, narrow, wide, back):
        assert _gap(model, other) <= most


def test_the_stream_of_a_recentred_model_has_no_mean_and_is_the_centred_one():
    model = _shaken("gpt", torch.float64)
    site = "blocks.2.hook_resid_post"
    before, after = (m.run_with_cache(_tokens(), site)[1][site] for m in (model, recentre(model)))
    assert before.mean(-1).abs().max() > 0.01 and after.mean(-1).abs().max() < 1e-12
    assert torch.allclose(after, before - before.mean(-1, keepdim=True), atol=1e-12)


def test_converted_models_keep_the_contract():
    narrow = compress(recentre(_shaken("gpt")))
    for model in (narrow, expand(narrow)):
        check_model(model, _tokens()).raise_if_failed()


def test_the_model_itself_stays_as_it_was():
    model = _shaken("gpt")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    compress(recentre(model))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.module.unembed.weight is model.module.embed.weight


@pytest.mark.parametrize(("name", "message"), [
    ("llama", "needs a model with LayerNorm; llama has RMSNorm"), ("peri-ln", "pre-norm"), ("layerscale", "pre-norm"),
    ("sinusoidal", "formula"),
])
def test_what_cannot_be_recentred_is_refused(name, message):
    with pytest.raises(BadInput, match=message):
        recentre(build(name, **SIZES))


def test_a_stream_with_a_mean_is_not_compressed():
    with pytest.raises(BadInput, match="writes a mean"):
        compress(_shaken("pre-rmsnorm"))
