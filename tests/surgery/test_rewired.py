"""Models without some of their depth: bit-equal where nothing goes, equal to edits where something does."""

import pytest
import torch

from interp.architectures import build
from interp.hooks.check import check_model
from interp.results.errors import BadInput
from interp.surgery.drop import drop, droppable, dropped, ranking, similarities
from interp.surgery.quality import random_removals
from interp.surgery.recursive import tie
from tests.adapters import tiny

SIZES = dict(d_model=16, n_layers=4, n_heads=4, d_vocab=30, n_ctx=16)


def _tokens():
    return torch.randint(0, 30, (3, 9), generator=torch.Generator().manual_seed(3))


def _model(name="gpt"):
    model = build(name, seed=0, **SIZES)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", ["gpt", "post-norm", "peri-ln", "parallel", "looped", "ladder"])
def test_without_anything_taken_out_it_is_the_model_bit_for_bit(name):
    model = build(name, **SIZES)
    same, report = drop(model, [])
    with torch.no_grad():
        assert torch.equal(same(_tokens()), model(_tokens()))
    assert report.removed == 0 and same.module is not model.module
    assert all(a is b for a, b in zip(same.parameters(), model.parameters()))  # tensors are shared


@pytest.mark.parametrize("name", ["gpt", "llama", "parallel", "peri-ln", "post-norm"])
def test_a_model_without_a_branch_is_the_model_with_its_write_at_zero(name):
    model = _model(name)
    names = ["blocks.1.hook_attn_out", "blocks.2.hook_mlp_out"]
    cut, report = drop(model, names)
    with torch.no_grad(), dropped(model, names):
        expected = model(_tokens())
    assert torch.equal(cut(_tokens()), expected)
    gone = ("blocks.1.attn.", "blocks.2.mlp.", *{
        "post-norm": (), "peri-ln": ("blocks.1.ln1", "blocks.2.ln2")}.get(name, ("blocks.1.ln1.", "blocks.2.ln2.")))
    assert report.parameters == sum(p.numel() for n, p in model.module.named_parameters() if not n.startswith(gone))
    broken = [(row.law, row.where) for row in check_model(cut, _tokens()).failures]
    # behind a norm on the sum the write stays a term of the equation, and is said to be zero, as it is
    assert broken == ([("writes", "blocks.1"), ("writes", "blocks.2")] if name == "post-norm" else [])


@pytest.mark.parametrize("name", ["gpt", "post-norm", "parallel"])
def test_a_model_without_a_block_hands_its_stream_on(name):
    cut, report = drop(_model(name), ["blocks.0", "blocks.2"])
    cache = cut.run_with_cache(_tokens())[1]
    for d in (0, 2):
        assert torch.equal(cache[f"blocks.{d}.hook_resid_pre"], cache[f"blocks.{d}.hook_resid_post"])
    assert "blocks.0.attn.hook_z" not in cache and cut.map.absent["blocks.0.attn.hook_z"] == "blocks.0 was taken out"
    check_model(cut, _tokens()).raise_if_failed()


def test_macro_similarity_is_measured_at_the_end_and_is_the_blocks_own_at_the_last():
    model, x = _model(), _tokens()
    own, end = similarities(model, x, "block"), similarities(model, x, "block", "macro")
    assert end["blocks.3"] == pytest.approx(own["blocks.3"], abs=1e-6)
    clean = model.run_with_cache(x)[1]["blocks.3.hook_resid_post"]
    for by, name in (("block", "blocks.1"), ("both", "blocks.1.hook_mlp_out")):
        cut = drop(model, [name])[0].run_with_cache(x)[1]["blocks.3.hook_resid_post"]
        cosine = torch.nn.functional.cosine_similarity(clean, cut, dim=-1).mean()
        assert similarities(model, x, by, "macro")[name] == pytest.approx(float(cosine), abs=1e-6)


def test_iterative_ranking_scores_what_is_left_anew():
    model, x = _model(), _tokens()
    chosen = ranking(model, x, 2, "attn", iterative=True)
    assert chosen[0] == ranking(model, x, 1, "attn")[0] and len(set(chosen)) == 2
    left = similarities(drop(model, chosen[:1])[0], x, "attn")
    assert chosen[1] == next(iter(left)) and chosen[0] not in left


def test_random_removals_repeat_by_seed_and_are_of_one_size():
    model = _model()
    sets = random_removals(model, 3, "both", draws=20, seed=1)
    assert sets == random_removals(model, 3, "both", draws=20, seed=1) and len({tuple(s) for s in sets}) > 10
    assert all(len(set(s)) == 3 and set(s) <= set(droppable(model, "both")) for s in sets)
    with pytest.raises(BadInput, match="5 branches are to be dropped"):
        random_removals(model, 5, "attn")


@pytest.mark.parametrize("name", ["looped", "mor"])
def test_a_shared_block_is_not_taken_out_but_a_single_visit_is_edited(name):
    model = build(name, **SIZES)
    with pytest.raises(BadInput, match="visited [34] times|no module|not what a module"):
        drop(model, ["blocks.1"])
    with dropped(model, ["blocks.1"]):
        cache = model.run_with_cache(_tokens())[1]
    assert torch.equal(cache["blocks.0.hook_resid_post"], cache["blocks.1.hook_resid_post"])


def test_names_that_are_not_there_are_refused():
    with pytest.raises(BadInput, match="no block or branch 'blocks.9'"):
        drop(_model(), ["blocks.9"])
    with pytest.raises(BadInput, match="choose among cosine"):
        similarities(_model(), _tokens(), "attn", "loss")


def test_a_recursive_model_reports_what_its_low_rank_parts_miss():
    energies = [tie(_model(), 2, rank)[1].error["residual_energy"] for rank in (0, 2, 8, 64)]
    assert energies[0] == pytest.approx(1) and energies[-1] < 1e-10 and energies == sorted(energies, reverse=True)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_a_librarys_model_is_tied_as_well_and_is_itself_at_full_rank(name):
    model, x = tiny.CASES[name].hooked(torch.float64)
    whole, _ = tie(model, 1, 1000)
    loop, report = tie(model, 1, 0)
    with torch.no_grad():
        assert torch.allclose(whole(x), model(x), atol=1e-9) and not torch.allclose(loop(x), model(x), atol=1e-4)
    assert report.error["residual_energy"] == pytest.approx(1) and report.removed > 0
