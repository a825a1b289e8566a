"""Inputs where nobody gave any: real ones, the same for a seed, and refused where they would be noise."""

import pytest
import torch

from interp.depth.examples import examples
from interp.garden.catalog import build
from interp.garden.loading import load
from interp.results import BadInput


def test_windows_are_of_held_out_documents_and_repeat():
    model = load("garden/text-small")
    one, again, other = (examples(model, 4, 20, seed=s) for s in (3, 3, 4))
    assert one.x.shape == (4, 20) and torch.equal(one.x, again.x) and not torch.equal(one.x, other.x)
    assert len(set(one.clusters)) == 4 and all(name.split()[-1].endswith("7") for name in one.clusters)


def test_bare_ids_are_said_to_be_random_and_strange_tokenizers_are_refused():
    model = build("gpt", d_model=8, n_layers=1, n_heads=1, d_vocab=5, n_ctx=6)
    found = examples(model, 3, 64)
    assert found.x.shape == (3, 6) and int(found.x.max()) < 5 and "drawn at random" in found.what
    with pytest.raises(BadInput, match="--task"):
        examples(load("rxnmapper"), 3, 16)
    with pytest.raises(BadInput, match="at least 1 of 2"):
        examples(model, 0)


def test_pictures_are_crops_of_photographs():
    import timm

    from interp.adapters import hook

    model = hook(timm.create_model("vit_tiny_patch16_224", pretrained=False).eval())
    found = examples(model, 3, seed=1)
    assert found.x.shape == (3, 3, 224, 224) and found.x.std() > 0.3 and "two photographs" in found.what
