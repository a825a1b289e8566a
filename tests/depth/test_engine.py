"""The engine of interventions: what changes nothing, what a skip is, and where late starts begin."""

import pytest
import torch

from interp.depth import engine
from interp.depth.engine import Runs, parts_within, skip, written
from interp.garden.catalog import build
from interp.hooks import HookedModel
from interp.hooks.contributions import carry
from interp.lens import Head
from interp.lens.stream import points, stream_blocks
from interp.results import BadInput

SIZES = {"d_model": 16, "n_layers": 3, "n_heads": 2, "d_vocab": 23, "n_ctx": 12}
NAMES = ("gpt", "post-norm", "peri-ln", "parallel", "ladder", "looped", "llama", "gtrxl", "mamba")


def model_of(name: str) -> HookedModel:
    """With weights large enough that every block matters."""
    sizes = {key: value for key, value in SIZES.items() if name != "mamba" or key not in ("n_heads", "n_ctx")}
    model = build(name, **sizes)
    generator = torch.Generator().manual_seed(3)
    for p in model.parameters():
        if p.dim() > 1:
            p.data += 0.2 * torch.randn(p.shape, generator=generator)
    return model


def ids(rows: int = 3, n: int = 9) -> torch.Tensor:
    return torch.randint(23, (rows, n), generator=torch.Generator().manual_seed(1))


def streams(model: HookedModel) -> list[str]:
    """Everything that the equations of its blocks read and give."""
    blocks = stream_blocks(model)
    return list(dict.fromkeys([*(s for b in blocks for s in (b.resid_pre, b.resid_post)),
                               *engine.contribution_sites(model, blocks)]))


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_of_nothing_changes_nothing_bit_for_bit(name):
    model, x = model_of(name), ids()
    blocks, nowhere = stream_blocks(model), torch.zeros(3, 9, dtype=torch.bool)
    keep = streams(model)
    runs = Runs(model, x, keep)
    for start, block in enumerate(blocks):
        values, output = runs.edited(start, skip(model, block.prefix, nowhere))
        assert torch.equal(output, runs.output)
        assert values and all(torch.equal(values[site], runs.clean[site]) for site in values)
        again = engine.replace(block.resid_pre, runs.clean[block.resid_pre])
        assert torch.equal(runs.edited(start, again)[1], runs.output)


@pytest.mark.parametrize("name", NAMES)
def test_a_late_start_is_the_whole_forward(name):
    model, x = model_of(name), ids()
    runs = Runs(model, x, streams(model))
    for start, block in enumerate(stream_blocks(model)):
        edit = skip(model, block.prefix)
        values, output = runs.edited(start, edit)
        assert torch.allclose(output, model.run_with_hooks(x, edit), atol=1e-6)
        assert torch.equal(values[block.resid_post], runs.clean[block.resid_pre])


@pytest.mark.parametrize("name", ["gpt", "post-norm", "peri-ln", "parallel", "llama"])
def test_a_skipped_block_is_the_model_without_it(name):
    model, x = model_of(name), ids()
    for depth in range(3):
        block, own = model.module.blocks[depth], model.module.blocks[depth].forward
        block.forward = lambda stream, *rest: stream
        without = model(x)
        block.forward = own
        assert torch.allclose(Runs(model, x).edited(depth, skip(model, f"blocks.{depth}"))[1], without, atol=1e-6)


def test_a_skipped_ladder_block_hands_on_no_late_stream_of_its_own():
    model, x = model_of("ladder"), ids()
    block, own = model.module.blocks[1], model.module.blocks[1].forward
    block.forward = lambda x, context: (x[0], x[0])
    without = model(x)
    block.forward = own
    assert torch.allclose(Runs(model, x).edited(1, skip(model, "blocks.1"))[1], without, atol=1e-6)


def test_ladder_attention_does_not_see_the_mlp_before_it():
    model, x = model_of("ladder"), ids()
    runs = Runs(model, x, ["blocks.1.hook_attn_out", "blocks.1.hook_mlp_out"])
    values, _ = runs.edited(0, skip(model, "blocks.0.hook_mlp_out"))
    assert torch.equal(values["blocks.1.hook_attn_out"], runs.clean["blocks.1.hook_attn_out"])
    assert not torch.equal(values["blocks.1.hook_mlp_out"], runs.clean["blocks.1.hook_mlp_out"])


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_all_its_blocks_is_the_lens_of_its_embedding(name):
    model, x = model_of(name), ids()
    edits = [pair for block in stream_blocks(model) for pair in skip(model, block.prefix)]
    with torch.no_grad():
        embedding = model.read(x, points(model)[0])[points(model)[0]]
        assert torch.allclose(model.run_with_hooks(x, edits), Head(model, x)(embedding), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_and_what_is_written_are_the_stream(name):
    model, x = model_of(name), ids()
    blocks = stream_blocks(model)
    cache = model.read(x, streams(model))
    for depth, block in enumerate(blocks):
        total = carry(model, cache, depth, cache[block.resid_pre]) + written(model, cache, block)
        assert torch.allclose(total, cache[block.resid_post], atol=2e-5)


def test_folded_edits_are_the_single_ones():
    model, x = model_of("gpt"), ids()
    runs, where = Runs(model, x), torch.zeros(6, 9, dtype=torch.bool)
    where[:3, 2], where[3:, 5] = True, True
    _, both = runs.edited(1, skip(model, "blocks.1", where), times=2)
    for i in (0, 1):
        _, one = runs.edited(1, skip(model, "blocks.1", where[3 * i : 3 * i + 3]))
        assert torch.allclose(both[3 * i : 3 * i + 3], one, atol=1e-6)


def test_slices_of_the_batch_keep_to_the_budget():
    model, x = model_of("gpt"), ids(rows=5)
    one = 9 * 16 * 4
    assert parts_within(model, x, 10, 2 * 10 * one) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert len(parts_within(model, x, 10, 1)) == 5
    with pytest.raises(BadInput, match="budget"):
        parts_within(model, x, 10, 0)


def test_a_name_that_is_neither_block_nor_branch_is_named():
    with pytest.raises(BadInput, match="blocks.9"):
        skip(model_of("gpt"), "blocks.9")
    with pytest.raises(BadInput, match="Did you mean"):
        skip(model_of("gpt"), "blocks.0.attn_out")
