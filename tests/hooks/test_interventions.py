"""Interventions against the literal forward of tests/hooks/handmade.py."""

import pytest
import torch

from interp.hooks import Ablate, Counterfactual, Freeze, Mean, Patch, Resample, Steer
from interp.hooks.baselines import resolve
from interp.results.errors import BadInput, MissingSite
from tests.adapters.tiny import CASES
from tests.hooks.handmade import build, ids, literal

Z, RESID = "blocks.0.attn.hook_z", "blocks.1.hook_resid_pre"


@pytest.fixture(scope="module")
def model():
    return build()


def edited(model, x, *interventions):
    with torch.no_grad(), model.edit(*interventions):
        return model(x)


def same(out, model, x, put) -> None:
    expected, _ = literal(model.module, x, put)
    assert torch.allclose(out, expected, rtol=1e-11, atol=1e-12)
    assert not torch.allclose(out, model(x), atol=1e-6)


def at(value, new, *, head=None, rows=None):
    """`value` with `new` at a head, or at one position of every row."""
    value = value.clone()
    if head is not None:
        value[:, :, head] = torch.broadcast_to(new, value.shape)[:, :, head]
    for row, pos in enumerate(rows or ()):
        value[row, pos] = torch.broadcast_to(new, value.shape)[row, pos]
    return value


def test_zero_ablation_of_a_head(model):
    x = ids()
    same(edited(model, x, Ablate(Z, head=1)), model, x, {Z: lambda v: at(v, 0 * v, head=1)})


def test_mean_ablation_per_position_and_over_all(model):
    x, over = ids(), ids(batch=40, seed=9)
    values = literal(model.module, over)[1][Z]
    same(edited(model, x, Ablate(Z, baseline=Mean(over))), model, x, {Z: lambda v: values.mean(0).expand(v.shape)})
    flat = values.mean((0, 1)).expand(3, 5, 2, 4)
    same(edited(model, x, Ablate(Z, baseline=Mean(over, per="all"))), model, x, {Z: lambda v: flat})


def test_mean_over_padded_prompts_counts_real_tokens_only(model):
    x, over = ids(), ids(batch=4, seed=9)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])
    values = literal(model.module, over)[1][Z]
    mean = (values * mask[..., None, None]).sum((0, 1)) / mask.sum()
    out = edited(model, x, Ablate(Z, baseline=Mean({"input_ids": over, "attention_mask": mask}, per="all")))
    same(out, model, x, {Z: lambda v: mean.expand(v.shape)})


def test_counterfactual_is_activation_patching(model):
    x, other = ids(), ids(seed=7)
    values = literal(model.module, other)[1]
    out = edited(model, x, Ablate(RESID, pos=2, baseline=Counterfactual(other)))
    same(out, model, x, {RESID: lambda v: at(v, values[RESID], rows=[2, 2, 2])})


def test_resample_draws_are_rows_of_the_pool_and_seeded(model):
    x, pool = ids(), ids(batch=10, seed=9)
    values = literal(model.module, pool)[1][Z]
    draws = resolve(model, [model.site(Z)], Resample(pool, draws=3, seed=4), x)
    again = resolve(model, [model.site(Z)], Resample(pool, draws=3, seed=4), x)
    assert len(draws) == 3
    for draw, other in zip(draws, again):
        assert torch.equal(draw[Z], other[Z])
        nearest = (draw[Z][:, None] - values[None]).abs().amax((2, 3, 4)).amin(1)
        assert nearest.max() < 1e-12
    assert not torch.equal(draws[0][Z], draws[1][Z])
    same(edited(model, x, Ablate(Z, baseline=draws[0])), model, x, {Z: lambda v: draws[0][Z]})
    with pytest.raises(BadInput, match="Resample needs to know the batch"):
        edited(model, x, Ablate(Z, baseline=Resample(pool)))


def test_patch_at_one_position_a_prompt(model):
    x, new = ids(), torch.linspace(-1, 1, 8, dtype=torch.float64)
    out = edited(model, x, Patch(RESID, new, pos=[0, -1, 2]))
    same(out, model, x, {RESID: lambda v: at(v, new, rows=[0, 4, 2])})


def test_patch_by_slice_and_unit(model):
    x = ids()

    def put(v):
        v = v.clone()
        v[:, 1:3, 5] = 2.5
        return v

    out = edited(model, x, Patch(RESID, torch.tensor(2.5), pos=slice(1, 3), unit=5))
    same(out, model, x, {RESID: put})


def test_negative_position_respects_padding(model):
    x = ids()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    with torch.no_grad(), model.edit(Patch(RESID, torch.zeros(8), pos=-1)):
        out = model({"input_ids": x, "attention_mask": mask})
    same(out, model, x, {RESID: lambda v: at(v, 0 * v, rows=[4, 2, 0])})


def test_steer_adds_a_scaled_vector(model):
    x, vector = ids(), torch.arange(8, dtype=torch.float64)
    same(edited(model, x, Steer(RESID, vector, scale=-0.3)), model, x, {RESID: lambda v: v - 0.3 * vector})
    out = edited(model, x, Steer(RESID, vector, pos=0))
    same(out, model, x, {RESID: lambda v: at(v, v + vector, rows=[0, 0, 0])})


def test_freeze_holds_a_site_whatever_is_edited_before_it(model):
    x = ids()
    cache = model.run_with_cache(x)[1]
    held = [Freeze(name, cache) for name in ("blocks.0.attn.hook_v", "blocks.0.hook_mlp_out")]
    out = edited(model, x, Ablate("hook_embed"), *held)
    same(out, model, x, {
        "hook_embed": lambda v: 0 * v,
        "blocks.0.attn.hook_v": lambda v: cache["blocks.0.attn.hook_v"],
        "blocks.0.hook_mlp_out": lambda v: cache["blocks.0.hook_mlp_out"],
    })  # fmt: skip
    frozen = edited(model, x, Ablate("hook_embed"), Freeze(RESID, cache))
    assert torch.allclose(frozen, model(x), atol=1e-12)


def test_stream_between_is_the_stream_not_the_branchs_input(model):
    """Patching resid_mid must reach the MLP and what the block leaves."""
    x = ids()
    out = edited(model, x, Patch("blocks.0.hook_resid_mid", torch.ones(8)))
    same(out, model, x, {"blocks.0.hook_resid_mid": torch.ones_like})


def test_wildcard_edits_every_match(model):
    x = ids()
    put = {f"blocks.{d}.hook_mlp_out": torch.zeros_like for d in (0, 1)}
    same(edited(model, x, Ablate("blocks.*.hook_mlp_out")), model, x, put)


def test_interventions_that_cannot_be_are_refused_before_the_forward(model):
    x = ids()
    for intervention, kind, message in (
        (Ablate("blocks.0.attn.hook_y"), MissingSite, "has no site 'blocks.0.attn.hook_y'"),
        (Ablate(RESID, head=0), MissingSite, "has no head axis"),
        (Ablate(Z, head=2), BadInput, "has heads 0 to 1; head 2"),
        (Ablate(Z, baseline="median"), BadInput, "baseline 'median' is unknown"),
        (Ablate(Z, baseline={}), BadInput, f"the baseline has no tensor for '{Z}'"),
        (Ablate(Z, baseline=3.0), BadInput, "float is no baseline"),
        (Freeze(Z, {}), BadInput, f"the cache to freeze from holds no '{Z}'"),
    ):
        with pytest.raises(kind, match=message), model.edit(intervention):
            raise AssertionError("the edit was entered")
    with pytest.raises(BadInput, match=r"a tensor of shape \[7\] does not fit 'blocks.1.hook_resid_pre', which is"):
        edited(model, x, Patch(RESID, torch.zeros(7)))
    with pytest.raises(BadInput, match="position 9 is outside prompt 0, which has 5 tokens"):
        edited(model, x, Ablate(RESID, pos=9))
    with pytest.raises(BadInput, match="clean and counterfactual inputs differ in shape"):
        resolve(model, [model.site(Z)], Counterfactual(ids(n_pos=4)), x)


# -- shared weights --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def albert():
    return CASES["albert"].hooked(torch.float64)


def test_albert_edit_targets_one_visit(albert):
    """The stream before the edited visit is untouched, the edited one is zero, later ones follow."""
    model, x = albert
    plain = model.run_with_cache(x)[1]
    with model.edit(Ablate("blocks.2.hook_attn_out")):
        edit = model.run_with_cache(x)[1]
    for d in range(4):
        post = f"blocks.{d}.hook_resid_post"
        assert torch.equal(edit[post], plain[post]) == (d < 2)
    zero = [d for d in range(4) if not edit[f"blocks.{d}.hook_attn_out"].any()]
    assert zero == [2]


def test_albert_edit_targets_the_tied_group(albert):
    model, x = albert
    with model.edit(Ablate("blocks.2.hook_attn_out", tied=True)):
        edit = model.run_with_cache(x)[1]
    assert not any(edit[f"blocks.{d}.hook_attn_out"].any() for d in range(4))
    dense = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.dense"
    module = model.module.get_submodule(dense)
    handle = module.register_forward_hook(lambda module, args, out: torch.zeros_like(out))
    with torch.no_grad():
        by_hand = model.module(x).logits
    handle.remove()
    assert torch.allclose(edit["output"], by_hand, atol=1e-6)


def test_albert_says_what_is_tied(albert):
    model, _ = albert
    group = model.tied("blocks.1.attn.hook_z")
    assert [(s.name, s.visit) for s in group] == [(f"blocks.{d}.attn.hook_z", d) for d in range(4)]
    assert len({s.module for s in group}) == 1 and model.n_layers == 4
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in model.module.parameters())


@pytest.mark.parametrize("batch", [2, 5])  # five tokens a row, so that rows could be taken for positions
def test_what_was_read_at_a_place_is_put_at_that_place(model, batch):
    x, other = ids(batch), ids(batch, seed=3)
    z, resid = (model.read(other, [name])[name] for name in (Z, RESID))
    for site, whole, where, read in (
        (RESID, resid, {"pos": -1}, resid[:, -1]), (RESID, resid, {"pos": list(range(batch))}, None),
        (Z, z, {"pos": 2}, z[:, 2]), (Z, z, {"head": 1}, z[:, :, 1]), (Z, z, {"head": 1, "pos": 2}, z[:, 2, 1]),
        (Z, z[:1].expand_as(z), {"head": 1}, z[0, :, 1]), (RESID, resid[:1].expand_as(resid), {"pos": 1}, resid[0, 1]),
    ):
        read = whole[torch.arange(batch), where["pos"]] if read is None else read
        expected = edited(model, x, Patch(site, whole, **where))
        assert torch.equal(edited(model, x, Patch(site, read, **where)), expected)
        assert torch.equal(edited(model, x, Steer(site, read, 0.5, **where)),
                           edited(model, x, Steer(site, whole, 0.5, **where)))


def test_a_tensor_that_could_mean_two_things_is_refused(model):
    with pytest.raises(BadInput, match="leave out those that pos and head name"):
        edited(model, ids(2), Patch(Z, torch.zeros(2, 5, 3), head=1, pos=1))
    with pytest.raises(BadInput, match="does not fit"):
        edited(model, ids(2), Steer(RESID, torch.zeros(7)))
