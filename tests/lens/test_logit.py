"""The head and the logit lens against the formula, and what must hold at the last depth."""

import pytest
import torch

from interp.garden.catalog import build
from interp.garden.loading import load
from interp.hooks import Patch
from interp.lens import Head, logit_lens
from interp.lens.stream import chosen, points
from interp.results import BadInput, RequiresResidualStream

SIZES = {"d_model": 16, "n_layers": 3, "n_heads": 2, "d_vocab": 23, "n_ctx": 12}
NAMES = ("gpt", "post-norm", "peri-ln", "parallel", "ladder", "looped", "llama", "gtrxl")


def ids(rows: int = 3, n: int = 9) -> torch.Tensor:
    return torch.randint(23, (rows, n), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_head_of_the_last_stream_is_the_output_bit_for_bit(name):
    model, x = build(name, **SIZES), ids()
    head = Head(model, x)
    assert torch.equal(head(head.stream), model(x))
    assert torch.equal(head.output, model(x))


@pytest.mark.parametrize("name", NAMES)
def test_last_depth_is_the_answer_exactly(name):
    lens = logit_lens(build(name, **SIZES), ids(), 4)
    assert (lens.values["kl"][-1] == 0).all() and (lens.values["overlap"][-1] == 1).all()
    assert (lens.values["kl"] >= -1e-6).all() and (lens.values["kl"][0] > 0).any()


def test_lens_equals_the_formula():
    model, x = load("garden/text-small"), torch.randint(1000, (2, 7), generator=torch.Generator().manual_seed(0))
    lens, cache = logit_lens(model, x, None, k=3), model.read(x, points(model))
    last = model(x).log_softmax(-1)
    for i, name in enumerate(points(model)):
        logits = model.module.unembed(model.module.ln_final(cache[name]))
        p = logits.log_softmax(-1)
        assert torch.allclose(lens.values["kl"][i], (p.exp() * (p - last)).sum(-1), atol=2e-5)
        for row in range(2):
            for pos in range(7):
                tops = [set(v[row, pos].topk(3).indices.tolist()) for v in (logits, last)]
                assert lens.values["overlap"][i, row, pos] == pytest.approx(len(tops[0] & tops[1]) / 3)


def test_chosen_positions_are_those_of_all_positions():
    model, x = build("gpt", **SIZES), ids()
    whole, some = logit_lens(model, x, None), logit_lens(model, x, [1, -1])
    assert some.positions.tolist() == [[1, 8]] * 3
    assert torch.allclose(some.values["kl"], whole.values["kl"][:, :, [1, 8]], atol=1e-6)


def test_a_stream_between_branches_is_read_too_and_a_head_is_not():
    model, x = build("gpt", **SIZES), ids()
    lens = logit_lens(model, x, sites=["blocks.*.hook_resid_mid"])
    assert lens.sites == [f"blocks.{i}.hook_resid_mid" for i in range(3)]
    with pytest.raises(RequiresResidualStream, match="blocks.0.attn.hook_z"):
        logit_lens(model, x, sites=["blocks.0.attn.hook_z"])


def test_padding_is_not_read():
    real = torch.tensor([[False, False, True, True, True], [True, True, True, True, True]])
    assert chosen(real, 2).tolist() == [[2, 4], [1, 4]]
    assert chosen(real, [0, -1]).tolist() == [[2, 4], [0, 4]]
    with pytest.raises(BadInput, match="3 to 5 tokens"):
        chosen(real, [4])


def test_head_answers_another_stream_as_the_patched_model_does():
    model, x = build("ladder", **SIZES), ids()
    head, site = Head(model, x), points(model)[-1]
    other = torch.randn(head.stream.shape)
    with model.edit(Patch(site, other)):
        assert torch.equal(head(other), model(x))
    with pytest.raises(BadInput, match="shape"):
        head(other[:, :2])


def test_a_masked_head_with_its_own_layers_is_the_models():
    model, x = load("rxnmapper"), torch.randint(20, 200, (2, 11), generator=torch.Generator().manual_seed(0))
    lens = logit_lens(model, x, 3)
    assert len(lens.sites) == 13 and (lens.values["kl"][-1] == 0).all()
    assert lens.figure().data


def test_features_have_distances_instead_of_distributions():
    from interp.adapters import hook
    from interp.adapters.transformers import library

    config = library().BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=23
    )
    lens = logit_lens(hook(library().BertModel(config).eval()), ids(), 3)
    assert lens.main == "distance" and (lens.values["distance"][-1] == 0).all()
    assert torch.allclose(lens.values["cosine"][-1], torch.ones(3, 3))
    assert (lens.values["distance"][0] > 1e-3).all()
