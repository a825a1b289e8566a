"""SReT (63): iterations are depths, one group without extras is a plain loop, coefficients can be read."""

import pytest
import torch

import interp
from interp.architectures import build
from interp.parts.context import Context
from interp.parts.sliced import groups
from interp.results.errors import BadInput

SIZES = dict(d_model=32, n_layers=2, n_visits=2, n_heads=4, image=16, patch=4, n_classes=5)


def _images(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def _model(**sizes):
    model = build("sret", seed=0, **SIZES | sizes).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def test_works_when_63_sret_hooks_are_indexed_by_iteration():
    model = _model(n_visits=3)
    assert [(s.name, s.visit) for s in model.tied("blocks.0.hook_mlp_out")] == [
        ("blocks.0.hook_mlp_out", 0), ("blocks.2.hook_mlp_out", 1), ("blocks.4.hook_mlp_out", 2)]
    assert model.n_layers == 2 * (3 + 2) and len(model.module.blocks) == 2
    assert not [s for s in model.sites("blocks.1.*") if "attn" in s.name]  # the MLP between two visits
    with model.edit(interp.Ablate("blocks.2.hook_attn_out")):
        cache = model.run_with_cache(_images())[1]
    assert not cache["blocks.2.hook_attn_out"].any() and cache["blocks.0.hook_attn_out"].any()


def test_works_when_63_sret_with_one_group_is_plain_recursion():
    """Coefficients 1 and nothing between visits: the blocks of a ViT, each twice, by hand."""
    model = _model(n_groups=1)
    module = model.module
    with torch.no_grad():
        for block in module.blocks:
            for part in (block.attn_sum, block.mlp_sum):
                part.keep.fill_(1.0), part.write.fill_(1.0)
        for between in module.between:
            between[0].mlp.down.weight.zero_(), between[0].mlp.down.bias.zero_()
        x = module.embed(_images()).flatten(2).transpose(1, 2) + module.position
        for block in module.blocks:
            for _ in range(2):
                x = x + block.attn(block.ln1(x), Context(torch.zeros(2, 16, dtype=torch.long)))
                x = x + block.mlp(block.ln2(x))
        assert torch.allclose(model(_images()), module.unembed(module.ln_final(x).mean(1)), atol=1e-10)


def test_works_when_63_sret_coefficients_are_read_and_are_the_equation():
    model = _model()
    cache = model.run_with_cache(_images())[1]
    block = model.module.blocks[1]
    read = {name: p.item() for name, p in block.named_parameters() if name.endswith(("keep", "write"))}
    assert set(read) == {f"{b}_sum.{c}" for b in ("attn", "mlp") for c in ("keep", "write")}
    for depth in (3, 5):  # both visits of the second block
        pre, mid = (cache[f"blocks.{depth}.hook_resid_{at}"] for at in ("pre", "mid"))
        assert torch.allclose(mid, read["attn_sum.keep"] * pre + cache[f"blocks.{depth}.hook_attn_out"], atol=1e-12)
    assert len(set(read.values())) == 4


def test_attention_stays_in_its_groups_and_two_visits_reach_everywhere():
    model = _model(n_groups=4)
    cache = model.run_with_cache(_images())[1]
    reach = torch.eye(16, dtype=torch.bool)
    for depth, visit in ((0, 0), (2, 1)):
        group = groups(16, 4, visit)[0]
        same = group[:, None] == group[None, :]
        pattern = cache[f"blocks.{depth}.attn.hook_pattern"]
        assert not pattern[..., ~same].any() and (pattern[..., same] > 0).all() and same.sum() == 16 * 4
        reach = (same.float() @ reach.float()) > 0
    assert reach.all()


def test_sliced_attention_equals_attention_in_each_slice():
    model = _model(n_groups=4, n_visits=1)
    block, x = model.module.blocks[0], torch.randn(2, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        for visit in (0, 1):
            group = groups(16, 4, visit)
            whole = block.attn(x, Context.grouped(torch.zeros_like(group), group))
            for g in range(4):
                own = x[:, group[0] == g]
                alone = block.attn(own, Context(torch.zeros(2, 4, dtype=torch.long)))
                assert torch.allclose(whole[:, group[0] == g], alone, atol=1e-12)


def test_what_does_not_fit_is_refused():
    with pytest.raises(BadInput, match="16 patches of n_groups 3"):
        build("sret", n_groups=3)
    with pytest.raises(BadInput, match="16 x 16"):
        _model()(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
