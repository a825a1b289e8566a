"""Generation that keeps keys and values: the same logits and tokens as whole texts, or a clear refusal."""

import pytest
import torch

from interp.codebook import attach, generate
from interp.garden.catalog import build
from interp.hooks import Ablate, Steer
from interp.results.errors import BadInput
from tests.adapters.tiny import CASES

FAMILIES = ["gpt2", "llama", "gemma2", "olmo2", "gpt_neox"]


def edits(model, x):
    """Books with a code active everywhere, a head at zero, and a vector added; all at every position."""
    books = attach(model, "blocks.*.attn.hook_z", n_codes=8, k=2, init="kmeans", example=x)
    vector = 0.5 * torch.randn(32, generator=torch.Generator().manual_seed(1))
    return [books.activate("blocks.1.attn.hook_z", 3, head=0), Ablate("blocks.0.attn.hook_z", head=1),
            Steer("blocks.0.hook_resid_post", vector)]


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_give_the_logits_of_the_whole_text(family):
    model, x = CASES[family].hooked(torch.float64)
    with torch.no_grad():
        for given in ([], edits(model, x)):
            with model.edit(*given):
                whole = model(x)
                first, past = model.step(x[:, :3])
                parts = [first]
                for i in range(3, x.shape[1]):
                    output, past = model.step(x[:, i : i + 1], past)
                    parts.append(output)
            assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_tokens_are_the_same(family):
    model, x = CASES[family].hooked()
    for given in ([], edits(model, x)):
        plain = generate(model, x[:, :4], 8, *given, seed=3)
        assert torch.equal(generate(model, x[:, :4], 8, *given, seed=3, past=True), plain)


def test_what_a_run_of_the_newest_token_cannot_do_is_refused():
    model, x = CASES["gpt2"].hooked()
    books = attach(model, "blocks.0.attn.hook_z", n_codes=8, k=2)
    for edit in (Ablate("blocks.0.attn.hook_z", pos=-1), books.activate("blocks.0.attn.hook_z", 3, pos=2)):
        with pytest.raises(BadInput, match="names positions"):
            generate(model, x, 2, edit, past=True)
    with pytest.raises(BadInput, match="do not fit the context"):
        generate(model, x, 30, past=True)
    assert generate(model, x, 30).shape == (2, 37)
    other = build("gpt", seed=0, d_model=16, n_layers=1, n_heads=2, d_vocab=11, n_ctx=12)
    for call in (lambda: other.step(x), lambda: generate(other, x % 11, 2, past=True), lambda: model.step(x[0])):
        with pytest.raises(BadInput, match="keeps no keys and values|batch, pos"):
            call()
    mamba, y = CASES["mamba"].hooked()
    assert not mamba.keeps_past
