"""Mixture-of-Transformers (156): equal weights are the dense model, and modalities meet in attention alone."""

from dataclasses import replace

import pytest
import torch

import interp
from interp.architectures import build
from interp.architectures.gpt import GPT
from interp.parts import Rotary, hook
from interp.parts.model import build_model

SIZES = dict(d_model=32, n_layers=2, n_heads=4, d_vocab=50, n_ctx=16)
TEXT, IMAGE = slice(0, 5), slice(5, 10)


def _tokens() -> torch.Tensor:
    """Five tokens of the first half of the vocabulary, then five of the second."""
    generator = torch.Generator().manual_seed(3)
    return torch.cat([torch.randint(0, 25, (3, 5), generator=generator),
                      torch.randint(25, 50, (3, 5), generator=generator)], 1)


def _model():
    model = build("mot", seed=0, **SIZES).to(torch.float64)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def test_works_when_156_mot_with_tied_modalities_is_the_dense_model():
    model = _model()
    state = model.state_dict()
    state |= {key: state[key.replace(".of.1.", ".of.0.")] for key in state if ".of.1." in key}
    model.module.load_state_dict(state)
    dense = hook(build_model(replace(GPT, position=Rotary, **SIZES), 0)).to(torch.float64)
    where = {"ln1": "affine1.of.0", "ln2": "affine2.of.0", "mlp.up": "up.of.0", "mlp.down": "down.of.0"} | {
        f"attn.{letter}": f"attn.{letter}.of.0" for letter in "qkvo"}
    theirs = {}
    for key in dense.state_dict():
        if not key.startswith("blocks."):
            theirs[key] = state[key]
            continue
        _, d, inside = key.split(".", 2)
        path, _, name = inside.rpartition(".")
        theirs[key] = state[f"blocks.{d}.{where[path]}.{name}"]
    dense.module.load_state_dict(theirs)
    with torch.no_grad():
        assert torch.allclose(model(_tokens()), dense(_tokens()), atol=1e-10)


def test_weights_of_a_modality_act_on_its_tokens_only():
    """Changed image weights of the last block: logits behind text stay (nothing of the image is in front of it)."""
    model = _model()
    plain = model(_tokens())
    with torch.no_grad():
        for name, p in model.module.blocks[1].named_parameters():
            if ".of.1." in name:
                p.add_(1.0)
    out = model(_tokens())
    assert torch.equal(out[:, TEXT], plain[:, TEXT]) and (out[:, IMAGE] - plain[:, IMAGE]).abs().min() > 0


def _logit(output: torch.Tensor) -> torch.Tensor:
    return output[:, -1, 7]


@pytest.mark.parametrize("rules", ["cdt", "local-shapley"])
def test_works_when_156_mot_decomposes_by_modality(rules):
    """Both parts of the embeddings reach the last image token, text through the shared attention alone."""
    model, x = _model(), _tokens()
    sources = [interp.Source("hook_embed", pos=part) for part in (TEXT, IMAGE)]
    parts = interp.decompose(model, x, sources=sources, targets=["output"], rules=rules, baseline="zero")
    found = parts.relevant["output"][:, :, -1]
    assert torch.isfinite(found).all() and (found.abs().amax((1, 2)) > 1e-3).all()
    diagonal = torch.eye(10, dtype=torch.float64).expand(3, 4, 10, 10)
    state = {f"blocks.{d}.attn.hook_pattern": diagonal for d in range(2)}
    cut = model.run_with_hooks(x, [(name, lambda value, site: state[site.name]) for name in state])
    other = x.clone()
    other[:, TEXT] = (other[:, TEXT] + 1) % 25
    same = model.run_with_hooks(other, [(name, lambda value, site: state[site.name]) for name in state])
    assert torch.equal(cut[:, IMAGE], same[:, IMAGE])


def test_modalities_add_up_under_the_frozen_rules():
    model, x = _model(), _tokens()
    parts = [interp.Source("hook_embed", pos=part) for part in (TEXT, IMAGE)]
    each = interp.effects(model, x, parts, _logit, rules="frozen", baseline="zero").values
    whole = interp.effects(model, x, [interp.Source("hook_embed")], _logit, rules="frozen", baseline="zero").values
    assert torch.allclose(each.sum(0), whole[0], atol=1e-8) and each.abs().min() > 1e-6
