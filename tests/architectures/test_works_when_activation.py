"""What learned activations must do for their paper to be told right (`works_when` of seeds.tsv)."""

import pytest
import torch

from interp.architectures import build
from interp.hooks import Ablate
from interp.parts.polycom import PolyNorm, PolyReLU

X = torch.randn(4, 7, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _with(kind, *coefficients: float):
    act = kind(len(coefficients) - 1).double()
    with torch.no_grad():
        act.coefficients.copy_(torch.tensor(coefficients))
    return act


def test_works_when_190_polycom():
    """PolyReLU of order one is ReLU, both are their formulas, and coefficients start equal. They are parameters, no
    activations: read as such, not hooked. Effective ranks are compared below on random weights; that they grow by
    training is the paper's claim about large models."""
    assert torch.equal(_with(PolyReLU, 0.0, 1.0)(X), X.relu())
    a = (0.3, -0.5, 0.8, 0.2)
    relu = X.clamp(min=0)
    assert torch.allclose(_with(PolyReLU, *a)(X), sum(c * relu**i for i, c in enumerate(a)))
    wanted = a[0] + sum(a[i] * X**i / ((X**i) ** 2).mean(-1, keepdim=True).add(1e-6).sqrt() for i in (1, 2, 3))
    assert torch.allclose(_with(PolyNorm, *a)(X), wanted)
    for name in ("polyrelu", "polynorm"):
        act = build(name).module.blocks[0].mlp.act
        assert act.coefficients.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


def test_polynorm_is_as_large_for_any_input_and_couples_channels():
    act = _with(PolyNorm, 0.0, 1.0, 0.5, 0.25)
    assert torch.allclose(act(100 * X), act(10 * X), atol=1e-6)
    louder = X.clone()
    louder[..., 0] = 50
    assert (act(louder)[..., 1:].abs() < act(X)[..., 1:].abs()).float().mean() > 0.9


def _effective_rank(h: torch.Tensor) -> float:
    """exp of the entropy of the singular values' shares (Roy & Vetterli 2007)."""
    share = torch.linalg.svdvals(h)
    share = share / share.sum()
    return float((-share * share.clamp(min=1e-30).log()).sum().exp())


def test_works_when_190_polycom_has_a_larger_effective_rank_than_relu():
    """On inputs of rank 4: relu bends them, powers make products of them."""
    generator = torch.Generator().manual_seed(1)
    low = torch.randn(512, 4, generator=generator).double() @ torch.randn(4, 64, generator=generator).double()
    ranks = {name: _effective_rank(act(low).detach()) for name, act in (
        ("linear", lambda x: x), ("relu", torch.relu), ("polyrelu", _with(PolyReLU, 0.0, 1 / 3, 1 / 3, 1 / 3)),
        ("polynorm", _with(PolyNorm, 0.0, 1 / 3, 1 / 3, 1 / 3)))}
    assert ranks["linear"] < 4 + 1e-6 < ranks["relu"]
    assert ranks["polyrelu"] > ranks["linear"] + 1 and ranks["polynorm"] > ranks["linear"] + 1


def test_models_with_them_are_ablated_as_any_other():
    for name in ("polyrelu", "polynorm"):
        model = build(name, d_model=32, d_vocab=50)
        tokens = torch.arange(12).view(2, 6)
        with torch.no_grad(), model.edit(Ablate("blocks.0.mlp.hook_post")):
            cut = model(tokens)
        assert (cut - model(tokens)).abs().max() > 1e-6
