"""What must be true of every member of the norms family, by its number in the seed list."""

from dataclasses import replace

import pytest
import torch

from interp.adapters.transformers import library
from interp.architectures import build
from interp.architectures.gpt import ATTN, MLP, PERI_LN
from interp.parts.unified_norm import UnifiedNorm, fuse
from interp.surgery.recentre import compress, expand, recentre
from tests.architectures.training import next_token_loss, repeated, train

SIZES = dict(d_model=32, n_layers=3, n_heads=4, d_vocab=50, n_ctx=16)


def _tokens() -> torch.Tensor:
    return torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(3))


def _batch(size: float = 1.0, seed: int = 0, d: int = 6) -> torch.Tensor:
    return size * torch.randn(4, 5, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- 187 Peri-LN -----------------------------------------------------------------------------------------------------


def test_works_when_187_peri_ln_placement_is_a_field():
    """One field a branch (`norm_out`), not one for the whole model; the norm of the embeddings is one more."""
    assert PERI_LN.block == (replace(ATTN, norm_out="ln1_post"), replace(MLP, norm_out="ln2_post"))
    assert PERI_LN.embed_norm


def test_peri_ln_has_the_equations_and_norm_sites_of_gemma2():
    T = library()
    from interp.adapters import hook

    gemma = hook(T.Gemma2ForCausalLM(T.Gemma2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, bos_token_id=1, eos_token_id=2, pad_token_id=0)))
    ours = build("peri-ln", **SIZES)
    assert [b.steps for b in ours.map.blocks.values()] == [b.steps for b in gemma.map.blocks.values()]
    kinds = [{site.kind for site in m.sites() if site.kind.startswith("ln")} for m in (ours, gemma)]
    assert kinds[0] == kinds[1] != set()


@pytest.mark.slow
def test_works_when_187_peri_ln():
    """After training the variance of the stream grows slower with depth than under Pre-LN."""
    growth = {}
    tokens = repeated(64, torch.Generator().manual_seed(9))
    for name in ("gpt", "peri-ln"):
        model = build(name, seed=0, d_model=32, n_layers=8, n_heads=4, d_vocab=32, n_ctx=24)
        train(model, lambda m, g: next_token_loss(m, repeated(24, g)), 200)
        _, cache = model.run_with_cache(tokens, "blocks.*.hook_resid_p*")
        growth[name] = float(cache["blocks.7.hook_resid_post"].var() / cache["blocks.0.hook_resid_pre"].var())
    assert growth["peri-ln"] < growth["gpt"] / 2


# -- 160 Pre-RMSNorm -------------------------------------------------------------------------------------------------


def test_works_when_160_pre_rmsnorm():
    """A Pre-LN model converted to Pre-RMSNorm gives equal logits, to CRMSNorm and back too (more in tests/surgery)."""
    model = build("gpt", seed=1, **SIZES)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        plain = model(_tokens())
        rms = recentre(model)
        for other in (rms, compress(rms), expand(compress(rms))):
            assert (other(_tokens()) - plain).abs().max() <= 1e-5 * plain.abs().max()


# -- 155 Unified Normalization ---------------------------------------------------------------------------------------


def test_works_when_155_unified_norm_fuses_exactly():
    norm = UnifiedNorm(6).double()
    for seed in range(7):
        norm(_batch(2.0, seed))
    linear = torch.nn.Linear(6, 3).double()
    with torch.no_grad():
        norm.weight.normal_(), norm.bias.normal_()
        norm.eval()
        x = _batch(3.0, 50)
        assert (fuse(norm, linear)(x) - linear(norm(x))).abs().max() < 1e-12


def test_works_when_155_unified_norm_skips_a_planted_outlier():
    norm = UnifiedNorm(6).double()
    for seed in range(5):
        norm(_batch(1.0, seed))
    running, recent = norm.running.clone(), norm.recent.clone()
    outlier = _batch(100.0, 9)
    out = norm(outlier)
    assert int(norm.skipped) == 1 and int(norm.seen) == 5
    assert torch.equal(norm.running, running) and torch.equal(norm.recent, recent)
    assert torch.allclose(out.pow(2).mean((0, 1)), torch.ones(6, dtype=torch.float64), atol=1e-4)  # by its own size
    norm(_batch(1.1, 10))
    assert int(norm.skipped) == 1 and int(norm.seen) == 6


def test_works_when_155_unified_norm_takes_the_geometric_mean():
    norm = UnifiedNorm(6, window=3, momentum=0.5).double()
    batches = [_batch(1 + 0.2 * seed, seed) for seed in range(5)]
    outs = [norm(batch) for batch in batches]
    squares = [batch.pow(2).mean((0, 1)) for batch in batches]
    running = torch.ones(6, dtype=torch.float64)
    for t, (batch, out) in enumerate(zip(batches, outs)):
        window = squares[max(0, t - 2): t + 1]
        wanted = torch.stack(window).prod(0) ** (1 / len(window))
        assert torch.allclose(out, batch / (wanted + norm.eps).sqrt(), atol=1e-12)
        running = 0.5 * running + 0.5 * wanted
    assert torch.allclose(norm.running, running, atol=1e-12)


def test_unified_norm_is_a_fixed_map_at_inference():
    """Tokens do not meet in it: the value at one place depends on nothing else, and linearly so."""
    model = build("unified-norm", seed=0, **SIZES)
    norm = model.module.blocks[0].ln1
    x = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(norm(3 * x) - norm.bias, 3 * (norm(x) - norm.bias), atol=1e-5)
        assert torch.equal(norm(x)[:, :1], norm(x[:, :1]))
