"""What one prompt shows, against plain forwards, patterns made by hand, and padded prompts."""

import numpy as np
import pytest
import torch

import interp
from interp.discovery.nodes import nodes
from interp.lens import look
from interp.results import BadInput, Node, RequiresPattern


@pytest.fixture(scope="module")
def model():
    return interp.load("garden/dyck-2l")


@pytest.fixture(scope="module")
def one(model):
    return look.one(interp.task("dyck", model=model, n=12), 3)


def test_next_tokens_are_the_softmax_of_a_plain_forward(model, one):
    found = look.next_tokens(model, one.clean, -1, k=3, also=[4])
    with torch.no_grad():
        probabilities = model(one.clean)[0, -1].softmax(-1)
    assert list(found["id"][:3]) == probabilities.topk(3).indices.tolist()
    assert 4 in set(found["id"])
    assert list(found["probability"]) == pytest.approx([float(probabilities[i]) for i in found["id"]])


def test_next_tokens_without_a_node_are_those_of_the_edited_model(model, one):
    head = Node("blocks.0.attn.hook_z", head=1)
    found = look.next_tokens(model, one.clean, without=[head])
    with model.edit(interp.Ablate(head.site, head=1)), torch.no_grad():
        probabilities = model(one.clean)[0, -1].softmax(-1)
    assert list(found["probability"]) == pytest.approx([float(probabilities[i]) for i in found["id"]])


def test_what_the_last_mlp_and_heads_write_is_a_share_of_the_logits_with_the_norm_held(model, one):
    out, cache = model.run_with_cache(one.clean)
    node = nodes(model)[-1]
    found = look.writes(model, one.clean, node, k=2)
    term = model.contributions(cache)["blocks.1.mlp_out"][0, -1]
    stream = cache["blocks.1.hook_resid_post"][0, -1]
    norm, head = model.module.get_submodule("ln_final"), model.module.get_submodule(model.map.unembed)
    scale = (stream - stream.mean()).pow(2).mean().add(norm.eps).sqrt()
    expected = ((term - term.mean()) / scale * norm.weight) @ head.weight.T
    assert list(found["logits"]) == pytest.approx([float(expected[i]) for i in found["id"]], abs=1e-4)


def test_scores_of_patterns_made_by_hand():
    back, first = np.eye(4, k=-1), np.zeros((4, 4))
    first[:, 0] = 1.0
    scores = look.pattern_scores([look.Pattern("L0H0", back, "pattern"), look.Pattern("L0H1", first, "pattern")])
    assert scores[["previous", "first"]].to_numpy().tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_patterns_are_the_rows_that_the_model_declares(model, one):
    found = look.patterns(model, one.clean)
    _, cache = model.run_with_cache(one.clean, "blocks.*.attn.hook_pattern")
    assert [p.label for p in found] == [f"L{d}H{h}" for d in range(2) for h in range(4)]
    assert np.allclose(found[5].weights, cache["blocks.1.attn.hook_pattern"][0, 1])


def test_a_mixer_without_heads_shows_its_implicit_mixing_and_sees_no_future():
    model = interp.build("gla", d_model=16, n_layers=2, d_vocab=12, seed=0)
    found = look.patterns(model, torch.arange(8)[None])
    assert [p.label for p in found] == ["MIX0", "MIX1"] and {p.kind for p in found} == {"implicit mixing"}
    assert all(p.weights.max() == 1 and np.triu(p.weights, 1).max() == 0 for p in found)
    assert look.facts(model)["mixing"] == "implicit mixing"


def test_a_model_that_mixes_without_either_says_so():
    model = interp.hook(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2)),
                        sites={"blocks.{d}.hook_resid_post": "{d}"})
    with pytest.raises(RequiresPattern, match="no block"):
        look.patterns(model, torch.zeros(1, 3))


def test_one_prompt_without_its_padding_has_the_same_metric():
    model = interp.load("rxnmapper")
    task = interp.task("atom-mapping", model=model, n=6)
    with torch.no_grad():
        expected = task.metric(model(task.clean))
    assert len({look.one(task, row).clean["input_ids"].shape[1] for row in range(6)}) > 1
    for row in range(6):
        one = look.one(task, row)
        assert look.measured(model, one)[0] == pytest.approx(float(expected[row]), abs=1e-4)
        assert bool(one.clean["attention_mask"].all()) and look.asked_at(one) < one.clean["input_ids"].shape[1]
        assert len(look.tokens(model, one.clean)) == one.clean["input_ids"].shape[1]


def test_a_typed_pair_asks_for_what_the_model_says_after_each(model):
    task = look.pair(model, "4 0 1", "4 2 1")
    out = [model(x)[0, -1] for x in (task.clean, task.corrupt)]
    assert int(task.metric.correct[0]) == int(out[0].argmax())
    assert int(task.metric.wrong[0]) != int(task.metric.correct[0])
    assert len(task.part("discover")) == 1
    for texts, said in ((("4 0", "4"), "2 and 1 tokens"), (("", ""), "empty"), (("a b", "4 0"), "write token ids"),
                        (("99", "1"), "token ids run from")):
        with pytest.raises(BadInput, match=said):
            look.pair(model, *texts)


def test_images_are_bytes_and_patches_have_places():
    model = interp.load("garden/digits-vit")
    one = look.one(interp.task("digits", model=model, n=6), 0)
    assert look.reads(model) == "pixels"
    image = look.pixels(one.clean)
    assert image.shape == (8, 8) and image.min() == 0 and image.max() == 255
    assert look.tokens(model, one.clean)[:5] == ["0,0", "0,1", "0,2", "0,3", "1,0"]
    assert look.patches(17) == (1, 4) and look.patches(256) == (0, 16) and look.patches(3) == (0, None)


def test_a_row_that_is_not_there_is_an_error(model):
    task = interp.task("dyck", model=model, n=6)
    with pytest.raises(BadInput, match="no prompt 6"):
        look.one(task, 6)
