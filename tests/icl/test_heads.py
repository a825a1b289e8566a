"""Head scores and weights of heads: patterns made by hand, literal loops, circuits whose spectrum is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import interp
from interp.icl.composed import composition, copying_eigenvalues, copying_scores, pair_scores, self_tokens
from interp.icl.head_table import even, shares
from interp.icl.heads import SCORES, head_scores, per_row
from interp.icl.repeats import Repeats, repeats, repeats_for
from interp.icl.weights import HeadWeights, head_weights, token_maps
from interp.results.errors import BadInput, RequiresPattern


def literal(pattern: torch.Tensor, tokens: torch.Tensor, first: int) -> dict[str, float]:
    """The four scores of one head on one prompt, by loops over positions."""
    n = len(tokens)
    earlier = {q: [j for j in range(first, q) if tokens[j] == tokens[q]] for q in range(n)}
    for q in range(first):
        earlier[q] = []
    new = [q for q in range(n) if not earlier[q] and q > first]
    seen = [q for q in range(n) if earlier[q]]
    once = [q for q in seen if len(earlier[q]) == 1]

    def behind(q):
        return sum(float(pattern[q, j + 1]) for j in earlier[q] if j + 1 < q)

    return {
        "previous_token": np.mean([float(pattern[q, q - 1]) for q in new]),
        "duplicate_token": np.mean([sum(float(pattern[q, j]) for j in earlier[q]) for q in seen]),
        "induction": np.mean([behind(q) for q in once]),
        "prefix_matching": np.mean([behind(q) for q in seen]),
    }


@settings(max_examples=20)
@given(st.integers(0, 50), st.booleans())
def test_scores_equal_loops_over_positions(seed, bos):
    prompts = repeats(12, 6, rows=3, seed=seed, bos=12 if bos else None)
    n = prompts.tokens.shape[1]
    pattern = torch.rand(3, 2, n, n, generator=torch.Generator().manual_seed(seed)).tril()
    found = per_row(pattern, prompts)
    for row in range(3):
        for head in range(2):
            said = literal(pattern[row, head], prompts.tokens[row], int(bos))
            assert found[:, head, row] == pytest.approx([said[s] for s in SCORES], abs=1e-5)


def pattern_of(shift, prompts: Repeats) -> torch.Tensor:
    n = prompts.tokens.shape[1]
    pattern = torch.zeros(len(prompts.tokens), 1, n, n)
    for row, tokens in enumerate(prompts.tokens.tolist()):
        for q in range(n):
            last = next((j for j in range(q - 1, -1, -1) if tokens[j] == tokens[q]), None)
            pattern[row, 0, q, max(0, shift(q, last))] = 1
    return pattern


@pytest.mark.parametrize("score, shift", [
    ("previous_token", lambda q, last: q - 1),
    ("duplicate_token", lambda q, last: q if last is None else last),
    ("induction", lambda q, last: q if last is None else last + 1),
    ("prefix_matching", lambda q, last: q if last is None else last + 1),
])
def test_a_head_made_by_hand_scores_1(score, shift):
    prompts = repeats(20, 8, rows=4, seed=1)
    found = per_row(pattern_of(shift, prompts), prompts)[:, 0].mean(-1)
    assert found[SCORES.index(score)] == pytest.approx(1.0)
    others = [s for s in SCORES if s != score and {s, score} != {"induction", "prefix_matching"}]
    assert all(found[SCORES.index(s)] < 0.01 for s in others)


def test_looking_a_fixed_number_back_is_no_induction():
    prompts = repeats(40, 16, rows=64, seed=0)
    found = per_row(pattern_of(lambda q, last: q - 11, prompts), prompts)[:, 0].mean(-1)
    assert found[SCORES.index("induction")] < 0.2  # one period in nine


@given(st.integers(2, 12), st.integers(0, 99))
def test_blocks_repeat_and_periods_differ(length, seed):
    prompts = repeats(30, length, rows=8, seed=seed)
    for tokens in prompts.tokens.tolist():
        period = next(i for i in range(1, len(tokens)) if tokens[i] == tokens[0])
        assert (length + 1) // 2 <= period <= length
        assert all(tokens[i] == tokens[i % period] for i in range(len(tokens)))
        assert len(set(tokens[:period])) == period


@pytest.mark.parametrize("arguments", [(3, 5), (10, 1), (10, 4, 2, 0, None, 4)])
def test_impossible_repeats_say_so(arguments):
    vocabulary, length, *rest = arguments
    with pytest.raises(BadInput, match="block of"):
        repeats(vocabulary, length, total=rest[-1] if rest else None)


def test_shares_of_a_row_add_up_whatever_its_signs():
    matrix = torch.randn(2, 3, 5, 5)
    matrix[0, 0, 2] = 0
    found = shares(matrix)
    assert found[0, 0, 2].sum() == 0 and torch.allclose(found[1].sum(-1), torch.ones(3, 5))


def test_a_uniform_head_has_the_uniform_score():
    prompts = repeats(20, 8, rows=6, seed=3)
    n = prompts.tokens.shape[1]
    found = per_row(even(n, True).expand(6, 1, n, n), prompts)[:, 0].mean(-1)
    model = interp.build("gpt", d_model=8, n_layers=1, n_heads=2, d_vocab=20, n_ctx=n)
    assert found == pytest.approx(list(head_scores(model, prompts=prompts).uniform.values()), rel=1e-5)


@pytest.mark.parametrize("name", ["gpt", "gla", "sigmoid-attention", "aaren", "lmuformer", "looped"])
def test_any_sequence_architecture_has_scores(name):
    model = interp.build(name, d_vocab=24)
    found = head_scores(model, rows=4, length=6)
    frame = found.frame()
    assert set(frame["score"]) == set(SCORES) and frame["depth"].nunique() == model.n_layers
    assert frame["value"].between(0, 1 + 1e-5).all() and (frame["low"] <= frame["value"]).all()
    soft = name in ("gpt", "aaren", "looped")
    assert set(frame["mixing"]) == {"softmax" if soft else "share of |mixing|"}


def test_the_shipped_induction_model_has_both_kinds_of_heads():
    model = interp.load("garden/induction-2l")
    found = head_scores(model, 64, 16, rows=32, bos=64)
    assert found.top("previous_token", 1)[0][:2] == (0, 2)
    assert all(depth == 1 for depth, _, value in found.top("induction", 4) if value > 0.9)
    with pytest.raises(BadInput, match='mean "induction"'):
        found.means("inductive", 0)
    with pytest.raises(BadInput, match="depth 7"):
        found.means("induction", 7)
    assert len(found.figure().data) == len(SCORES)


def test_models_without_tokens_or_mixing_are_refused():
    vision = interp.build("metaformer-identity")
    with pytest.raises(BadInput, match="reads no tokens"):
        repeats_for(vision)
    with pytest.raises(RequiresPattern):
        head_weights(interp.build("gla", d_vocab=9), 0)


def test_repeats_fit_the_context():
    model = interp.build("gpt", d_vocab=50, n_ctx=20)
    assert repeats_for(model, bos=49).tokens.shape[1] <= 20


# Weights


def heads_of(*maps: torch.Tensor) -> HeadWeights:
    return HeadWeights(*(m[None].double() for m in maps))


def test_composition_of_orthogonal_maps_is_0_and_of_aligned_ones_1():
    eye = torch.eye(8)
    first, second = eye[:, :2], eye[:, 2:4]
    writer = heads_of(first, first, first, second.T)  # reads 0, 1 and writes 2, 3
    deaf = heads_of(first, first, first, first.T)
    assert pair_scores(writer, deaf, 0)[:, 0] == pytest.approx([0, 0, 0], abs=1e-12)
    keyed = heads_of(first, second, first, first.T)
    scores = pair_scores(writer, keyed, 0)[:, 0]
    assert scores[0] == pytest.approx(2**-0.5) and scores[1:] == pytest.approx([0, 0], abs=1e-12)
    one = torch.eye(8)[:, :1]
    sure = pair_scores(heads_of(one, one, one, eye[2:3]), heads_of(eye[:, 2:3], eye[:, 2:3], eye[:, 2:3], one.T), 0)
    assert sure[:, 0] == pytest.approx([1, 1, 1])


@given(st.integers(0, 30))
def test_scores_from_small_factors_equal_norms_of_whole_maps(seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (HeadWeights(*(torch.randn(2, *s, generator=generator, dtype=torch.float64)
                          for s in ((6, 3), (6, 3), (6, 3), (3, 6)))) for _ in range(2))
    found = pair_scores(a, b, 1)
    ov = a.v[1] @ a.o[1]
    for head in range(2):
        qk, ov2 = b.q[head] @ b.k[head].T, b.v[head] @ b.o[head]
        whole = [(qk @ ov.T).norm() / (qk.norm() * ov.norm()), (qk.T @ ov.T).norm() / (qk.norm() * ov.norm()),
                 (ov @ ov2).norm() / (ov.norm() * ov2.norm())]
        assert found[:, head] == pytest.approx([float(v) for v in whole])


def test_the_baseline_is_that_of_random_heads():
    model = interp.build("attn-only", d_model=64, n_layers=2, n_heads=4, d_vocab=30)
    found = composition(model, draws=40)
    assert found.baseline["K"] == pytest.approx(0.125, abs=0.01)
    untrained = found.scores[:, :, :]
    later = untrained[~np.isnan(untrained)]
    assert len(later) == 3 * 16 and np.abs(later - 0.125).max() < 0.03
    with pytest.raises(BadInput, match="no writer"):
        composition(model, [1], [0])
    assert len(found.frame()) == 48 and len(found.figure().data) == 3


def copier(sign: float) -> interp.HookedModel:
    """One layer whose heads hand on what they read, times `sign`, in a vocabulary of one direction a token."""
    model = interp.build("attn-only", d_model=8, n_layers=1, n_heads=2, d_vocab=8)
    module = model.module
    with torch.no_grad():
        module.embed.weight.copy_(torch.eye(8))
        module.unembed.weight.copy_(torch.eye(8))
        attention = module.blocks[0].attn
        attention.v.weight.copy_(torch.eye(8))
        attention.o.weight.copy_(sign * torch.eye(8))
    return model


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_head_that_copies_has_eigenvalues_of_one_sign(sign):
    model = copier(sign)
    values = copying_eigenvalues(model, 0)
    whole = []
    embed, unembed = token_maps(model)
    weights = head_weights(model, 0)
    for head in range(2):
        values_of = torch.linalg.eigvals(embed @ weights.v[head] @ weights.o[head] @ unembed)
        whole.append(sorted(values_of.abs().tolist())[-4:])
    assert np.sort(np.abs(values), -1) == pytest.approx(np.array(whole), abs=1e-9)
    assert copying_scores(model, 0) == pytest.approx([sign, sign], abs=1e-6)
    assert (self_tokens(model, 0) > 0.4).all() if sign > 0 else (self_tokens(model, 0) == 0).all()


def test_weights_of_a_fused_and_grouped_attention_give_what_the_model_computes():
    model = interp.build("llama", d_model=16, n_layers=1, n_heads=4, n_kv_heads=2, d_vocab=11)
    ids = torch.randint(0, 11, (1, 5))
    _, cache = model.run_with_cache(ids)
    weights = head_weights(model, 0)
    normed = cache["blocks.0.hook_resid_pre"] / cache["blocks.0.ln1.hook_scale"]
    for letter in "qkv":
        want = cache[letter, 0].double().repeat_interleave(4 // cache[letter, 0].shape[2], 2)
        got = torch.einsum("bpm,hmd->bphd", normed.double(), getattr(weights, letter))
        assert torch.allclose(got, want, atol=1e-5)
    result = torch.einsum("bphd,hdm->bpm", cache["z", 0].double(), weights.o)
    assert torch.allclose(result, cache["blocks.0.hook_attn_out"].double(), atol=1e-5)
