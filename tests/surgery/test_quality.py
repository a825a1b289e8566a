"""Held-out windows and losses on a language model that ships, and what the surgeries cost a real one."""

import numpy as np
import pytest
import torch

import interp
from interp.results import ModelMissing
from interp.results.errors import BadInput
from interp.surgery.drop import drop, ranking
from interp.surgery.flatten import flatten
from interp.surgery.narrow import narrow
from interp.surgery.quality import random_removals, rise, text_loss, windows
from interp.tasks.corpus import documents


@pytest.fixture(scope="module")
def small():
    return interp.load("garden/text-small")


def test_windows_are_held_out_text_one_document_each(small):
    found = windows(small, 6, 32, "test", seed=3)
    assert found.ids.shape == (6, 32) and len(set(found.documents)) == 6
    assert torch.equal(found.ids, windows(small, 6, 32, "test", seed=3).ids)
    assert not torch.equal(found.ids, windows(small, 6, 32, "test", seed=4).ids)
    texts = {f"{d.title} {d.year}": d.text for d in documents() if d.split == "test"}
    for ids, name in zip(found.ids.tolist(), found.documents):
        assert small.tokenizer.decode(ids[2:20]).strip() in texts[name]


def test_text_loss_is_the_mean_over_a_window(small):
    ids = windows(small, 3, 24, seed=0).ids
    with torch.no_grad():
        log_probs = torch.log_softmax(small(ids), -1)
    literal = [-np.mean([float(log_probs[w, t, ids[w, t + 1]]) for t in range(23)]) for w in range(3)]
    assert text_loss(small, ids, batch=2).numpy() == pytest.approx(literal, abs=1e-4)
    assert rise(text_loss(small, ids), text_loss(small, ids) + 1, ["a", "b", "c"]).value == pytest.approx(1)


def test_a_trained_model_loses_by_every_block_and_narrowing_a_flat_one_saves_as_much_as_dropping(small):
    text, calibration = windows(small, 8, 48, "test", seed=0), windows(small, 8, 48, "validation", seed=0).ids
    base = text_loss(small, text.ids)
    for depth in range(small.n_layers):
        assert rise(base, text_loss(drop(small, [f"blocks.{depth}"])[0], text.ids), text.documents).low > 0
    flat, _ = flatten(small, 1, calibration)
    heads = small.site("blocks.1.attn.hook_k").heads
    neurons = small.read(calibration, "blocks.1.mlp.hook_post")["blocks.1.mlp.hook_post"].shape[-1]
    less, report = narrow(flat, 1, calibration, kv_heads=heads, neurons=neurons)
    assert report.parameters <= 1.01 * drop(small, ["blocks.1"])[1].parameters
    assert torch.isfinite(text_loss(less, text.ids)).all()


def test_models_without_a_tokenizer_or_a_next_token_have_no_text_loss():
    with pytest.raises(BadInput, match="needs a tokenizer"):
        windows(interp.build("gpt"), 2, 8)
    with pytest.raises(BadInput, match="needs a causal model"):
        windows(interp.load("rxnmapper"), 2, 8)


@pytest.mark.slow
def test_smollm2_drops_by_cosine_better_than_at_random_and_narrowed_pairs_beat_dropped_blocks():
    """Orders that the benchmark measured with intervals (docs/depth.md); here on 6 windows, by a wide margin."""
    try:
        model = interp.load("smollm2-135m")
    except ModelMissing as missing:
        pytest.skip(str(missing))
    text, x = windows(model, 6, 48, "test", seed=0).ids, windows(model, 8, 64, "validation", seed=0).ids
    chosen = float(text_loss(drop(model, ranking(model, x, 4, "block"))[0], text).mean())
    drawn = [float(text_loss(drop(model, names)[0], text).mean()) for names in random_removals(model, 4, "block", 5)]
    assert chosen < np.median(drawn)
    slim = narrow(flatten(model, 20, x[:2])[0], 20, x, kv_heads=3, neurons=1536)[0]
    assert text_loss(slim, text).mean() < text_loss(drop(model, ["blocks.20"])[0], text).mean()
