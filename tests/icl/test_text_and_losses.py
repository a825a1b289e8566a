"""Text prompts, function vectors, losses by position, filters, and scores on prompts of examples, on tiny models."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import interp
from interp.icl.interleaved import NAMES, _nearest, _prefix, interleaved_scores, nearest
from interp.icl.models import build
from interp.icl.momentum import bode
from interp.icl.repeats import Repeats, repeats
from interp.icl.text_prompts import REAL, Style, levels, render, text_curve
from interp.icl.token_losses import in_context, induction_loss, token_losses
from interp.icl.vectors import function_vectors, head_means, indirect_effects, written
from interp.icl.word_pairs import RELATIONS, prompts, relation, single_token_pairs
from interp.results.errors import BadInput
from interp.tasks.functions import function_task


class Words:
    """A tokenizer of whole words and single characters: every piece between blanks is a token with its blank."""

    pad_token_id = eos_token_id = 0

    def __init__(self):
        self.known: dict[str, int] = {"<pad>": 0}

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        pieces, word = [], ""
        for c in text:
            if c in " \n:" or (word and word[-1] in ":\n"):
                pieces.append(word)
                word = ""
            word += c
        return [self.known.setdefault(p, len(self.known)) for p in [*pieces, word] if p]

    def decode(self, ids) -> str:
        names = dict(enumerate(self.known))
        return "".join(names.get(int(i), "<unused>") for i in ids)


def language_model(**sizes):
    model = interp.build("gpt", d_model=16, n_layers=2, n_heads=2, d_vocab=400, n_ctx=256, **sizes)
    model.tokenizer = Words()
    return model


# Losses


def test_losses_are_cross_entropies():
    model = interp.build("gpt", d_vocab=20, n_ctx=16)
    tokens = torch.randint(0, 20, (3, 9))
    found = token_losses(model, tokens)
    assert found[:, 0].isnan().all()
    for row in range(3):
        for pos in range(1, 9):
            logits = model(tokens[row : row + 1])[0, pos - 1]
            assert float(found[row, pos]) == pytest.approx(cross_entropy(logits, tokens[row, pos]).item(), abs=1e-5)


def test_the_score_is_late_minus_early():
    model = interp.build("gpt", d_vocab=20, n_ctx=16)
    found = in_context(model, torch.randint(0, 20, (6, 12)))
    assert found.score(8, 2).value == pytest.approx(float((found.losses[:, 8] - found.losses[:, 2]).mean()))
    assert len(found.frame()) == 11 and len(found.figure().data) == 2
    for wrong in (0, 12, slice(0, 3)):
        with pytest.raises(BadInput, match="predicted positions"):
            found.score(wrong, 2)
    with pytest.raises(BadInput, match="not causal"):
        in_context(interp.build("flowformer-bidirectional"), torch.zeros(1, 4, dtype=torch.long))


def test_induction_loss_of_the_shipped_models():
    some = repeats(64, 16, rows=24, seed=5, bos=64, total=64)
    learned, cannot = (induction_loss(interp.load(f"garden/induction-{n}l"), some) for n in (2, 1))
    assert learned.high < -3 < cannot.low  # -ln 64 is -4.16


# Filters


@pytest.mark.parametrize("gamma", [0.0, 0.5, 4.17])
def test_momentum_is_a_shelf(gamma):
    model = interp.build("momentum", d_vocab=9)
    model.module.blocks[0].attn.filter.gamma = gamma
    found = bode(model, 0, 5)
    closed = model.module.blocks[0].attn.filter.response(torch.tensor(found.omega))
    assert np.allclose(np.abs(found.response["key"]), closed.numpy(), atol=1e-6)
    assert np.abs(found.response["query"][:, -1]) == pytest.approx(1 + 2 * gamma)
    assert np.abs(found.response["key"][:, 2]) == pytest.approx(((1 + gamma) ** 2 + gamma**2) ** 0.5)
    assert len(found.frame()) == 2 * 5 * len(found.response["key"]) and len(found.figure().data)


@pytest.mark.parametrize("name, part, at_pi", [("smeared-keys", "key", 0.0), ("token-shift", "input", 0.0)])
def test_controls_of_momentum_let_low_frequencies_through(name, part, at_pi):
    found = bode(interp.build(name, d_vocab=9), 1)
    assert np.abs(found.response[part][:, 0]) == pytest.approx(1)
    assert np.abs(found.response[part][:, -1]) == pytest.approx(at_pi, abs=1e-6)


def test_attention_without_a_filter_has_no_bode_plot():
    with pytest.raises(BadInput, match="momentum"):
        bode(interp.build("gpt", d_vocab=9), 0)


# Prompts of examples


def test_near_points_by_loops():
    xs = torch.randn(4, 7, 3)
    xs[:, 5] = 2 * xs[:, 1]  # the same direction: cosine 1
    found = nearest(xs)
    for i in range(4):
        for k in range(7):
            want = None if k == 0 else max(range(k), key=lambda j: (torch.cosine_similarity(
                xs[i, k], xs[i, j], dim=0).round(decimals=5).item(), -j))
            assert found[i, k].nonzero().flatten().tolist() == ([] if want is None else [want])


def test_a_head_on_labels_of_the_same_or_the_nearest_point_scores_1():
    n, size = 8, 2
    pattern = torch.zeros(1, 2, 2 * n, 2 * n)
    for k in range(size, n):
        pattern[0, 0, 2 * k, 2 * (k - size) + 1] = 1
    assert _prefix(pattern, size)[0, :, 0].tolist() == [1, 0]
    near = nearest(torch.randn(1, n, 3))
    for k in range(1, n):
        pattern[0, 1, 2 * k, 2 * int(near[0, k].float().argmax()) + 1] = 1
    assert _nearest(pattern, near)[0, 1, 0] == 1


def test_scores_on_examples_of_a_model():
    task = function_task("conjunction", d=4)
    model = build("gpt", task, n=9, d_model=16, n_layers=2, n_heads=2)
    found = interleaved_scores(model, task, copies=4, prompts=6)
    assert found.names == NAMES and found.frame()["value"].between(0, 1).all()
    assert len(found.figure().data) == 2
    with pytest.raises(BadInput, match="multiple"):
        interleaved_scores(model, task, 9, copies=4)


# Text


def test_functions_are_written_out_and_asked_in_the_right_place():
    task = function_task("conjunction", d=3)
    episodes = task.sample(5, 4, 0)
    tokenizer = Words()
    shown = render(tokenizer, episodes, task, Style())
    bits = " ".join("1" if v > 0 else "0" for v in episodes.xs[0, 0].tolist())
    assert shown.text.startswith(f"Input: {bits}\nLabel:{' True' if episodes.ys[0, 0] > 0 else ' False'}\n\n")
    ids = shown.x
    for row in range(5):
        for k in range(4):
            label = int(ids[row, int(shown.at[row, k]) + 1])
            assert label == int(shown.options[int(episodes.ys[row, k] > 0)])
            assert tokenizer.decode([ids[row, int(shown.at[row, k])]]) == ":"


def test_levels_are_digits_around_the_middle():
    assert levels(torch.tensor([0.26, -0.26, 9.0, -9.0]), 1.0).tolist() == [5, 4, 9, 0]
    assert levels(torch.tensor([2.0]), 4.0).tolist() == levels(torch.tensor([1.0]), 1.0).tolist()


@pytest.mark.parametrize("name, d, sign", [("majority", 3, True), ("linear", 2, False)])
def test_a_model_that_knows_the_answers_is_right_in_text(name, d, sign):
    task = function_task(name, d=d)
    model = language_model()
    style = Style() if sign else Style(question="Input: {x}\nOutput:", labels=tuple(f" {i}" for i in range(10)),
                                       values=None)
    shown = render(model.tokenizer, task.sample(6, 5, 0), task, style)
    inputs = shown.x if isinstance(shown.x, torch.Tensor) else shown.x["input_ids"]
    truth = torch.zeros(*inputs.shape, 400)
    for row in range(6):
        for k in range(5):
            truth[row, shown.at[row, k], shown.options[shown.labels[row, k]]] = 50

    served = [truth[i : i + 2] for i in range(0, 6, 2)]
    oracle = model.edit

    class Knows:
        name, tokenizer, map = "knows", model.tokenizer, model.map

        def __call__(self, x):
            return served.pop(0)

    found = text_curve(Knows(), task, 5, 6, 0, style=style)
    assert oracle is not None and found.losses["model"].max() < 1e-6 and found.mass.min() > 0.99
    assert set(found.losses) == {"model", "nearest neighbour", "averaging", "constant"}
    against = found.mean("model", against="nearest neighbour").value
    assert (against >= 0) if sign else (against <= 0)
    assert len(found.frame()) == 4 * 5 and len(found.figure().data)


def test_text_needs_a_tokenizer_single_labels_and_binary_points():
    task = function_task("majority", d=3)
    with pytest.raises(BadInput, match="no tokenizer"):
        text_curve(interp.build("gpt", d_vocab=9), task)
    with pytest.raises(BadInput, match="must be one"):
        render(Words(), task.sample(1, 2, 0), task, Style(labels=(" very false", " true")))
    with pytest.raises(BadInput, match="values=None"):
        render(Words(), function_task("linear", d=2).sample(1, 2, 0), function_task("linear", d=2), Style())
    assert REAL.point(torch.tensor([0.26, -1.0])) == "0.3 -1.0"


# Words


@pytest.mark.parametrize("name", RELATIONS)
def test_relations_ask_each_question_once(name):
    pairs = relation(name)
    assert len({a for a, _ in pairs}) == len(pairs) > 50
    assert all(a and b and a.strip() == a and b.strip() == b for a, b in pairs)


def test_unknown_relations_name_the_nearest():
    with pytest.raises(BadInput, match='mean "antonyms"'):
        relation("antonym")


def test_shuffled_examples_keep_words_and_lose_the_relation():
    tokenizer, pairs = Words(), relation("past")[:8]
    plain = prompts(tokenizer, pairs[:2], pairs, 5, seed=3)
    mixed = prompts(tokenizer, pairs[:2], pairs, 5, seed=3, shuffled=True)
    for row in range(2):
        texts = [tokenizer.decode(p.x[row].tolist()) for p in (plain, mixed)]
        shown = [[tuple(part.removeprefix("Q: ").split("\nA: ")) for part in text.split("\n\n")[:-1]]
                 for text in texts]
        assert sorted(b for _, b in shown[0]) == sorted(b for _, b in shown[1])
        assert set(shown[0]) <= set(pairs) and not set(shown[1]) & set(pairs)
        assert pairs[row][0] not in {a for a, _ in shown[0]} and texts[0].endswith(f"Q: {pairs[row][0]}\nA:")
    with pytest.raises(BadInput, match="cannot be drawn"):
        prompts(tokenizer, pairs[:1], pairs, 20)


def test_function_vectors_by_hand_on_a_tiny_model():
    model = language_model()
    pairs = single_token_pairs("past", model.tokenizer)[:30]
    some = prompts(model.tokenizer, pairs[:4], pairs, 2, seed=0, shuffled=True)
    mean = head_means(model, some, [0, 1])
    _, cache = model.run_with_cache(some.x)
    at = torch.arange(4), some.last
    assert torch.allclose(mean[1], cache["z", 1][at].mean(0), atol=1e-6)
    found = indirect_effects(model, some, mean, 2)
    assert len(found) == 2

    def p_answer(logits):
        return logits[at].softmax(-1)[torch.arange(4), some.answers]

    for (depth, head), effect in found.items():
        with model.edit(interp.Patch(f"blocks.{depth}.attn.hook_z", mean[depth][None, None], head=head, pos=-1)):
            patched = p_answer(model(some.x))
        want = (patched - p_answer(model(some.x))).detach().double().numpy()
        assert effect == pytest.approx(want, abs=1e-7)
    vector = written(model, mean, [(0, 0), (1, 1)])
    out = [model.module.blocks[d].attn.o.weight.double()[:, h * 8 : h * 8 + 8] @ mean[d][h].double()
           for d, h in ((0, 0), (1, 1))]
    assert torch.allclose(vector, out[0] + out[1])


def test_function_vectors_of_a_tiny_model_end_to_end():
    model = language_model(seed=1)
    found = function_vectors(model, "past", shots=2, heads=2, tried=3, means=6, shuffled=3, words=5, depths=[0, 1])
    assert len(found.heads) == 2 and len(found.aie) == 3 and found.vector.shape == (16,)
    frame = found.frame()
    assert set(frame["added"]) == {"nothing", "function vector", "random heads", "shuffled means"}
    assert len(frame) == 2 * 4 * 2 and frame["accuracy"].between(0, 1).all()
    assert found.head_frame()["in_the_vector"].sum() == 2 and len(found.reads) == 8
    assert found.best_depth() in (0, 1) and len(found.figure().data)
    with pytest.raises(BadInput, match="held out"):
        function_vectors(model, "past", words=125)


def test_what_repeats_in_any_tokens():
    found = Repeats.of(torch.tensor([[9, 1, 2, 1, 2, 1]]), bos=True)
    assert found.seen.tolist() == [[0, 0, 0, 1, 1, 2]]
    assert found.follows[0, 5].nonzero().flatten().tolist() == [2, 4]
