"""The Transformer Program model: its attention rule, widths, invariances, sites and equations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.effects import effects
from interp.hooks import Source
from interp.hooks.check import check_model
from interp.hooks.files import read_model_files
from interp.programs import entry
from interp.programs.evaluate import closeness, closest
from interp.programs.gumbel import Choice
from interp.programs.heads import CategoricalHeads, Context, NumericalHeads, preference
from interp.programs.hooked import build_program_model, hook_program
from interp.programs.sizes import ProgramSizes
from interp.programs.stream import Stream, Write, read
from interp.results.errors import BadInput
from tests.programs.small_models import random_ids, random_model, random_sizes

HIST = ProgramSizes(d_vocab=8, n_ctx=8, d_vocab_out=7, cardinality=8)
INDUCTION = ProgramSizes(d_vocab=10, n_ctx=10, d_vocab_out=5, cardinality=10, n_layers=2, cat_heads=1, num_heads=0,
                         cat_mlps=0, num_mlps=0, causal=True)

# -- attention ---------------------------------------------------------------------------------------------------------


def _rule(matches: set[int], query: int, causal: bool) -> int:
    """The nearest match that is not the query itself, the left of two; then itself; then position 0."""
    seen = {key for key in matches if key <= query or not causal}
    others = sorted(seen - {query}, key=lambda key: (abs(key - query), key))
    return others[0] if others else query if query in seen else 0


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("n", range(1, 11))
def test_every_match_set_is_attended_by_the_rule(n, causal):
    sets = np.arange(2**n)[:, None] >> np.arange(n) & 1
    match = torch.from_numpy(sets).float()[None, :, None, :].expand(1, -1, n, n)  # every query sees one set
    visible = torch.ones(len(sets), n, n)
    context = Context(Choice(), visible.tril() if causal else visible, preference(n, visible))
    heads = CategoricalHeads(1, 2, 12)
    ours = Choice()(heads.scores(match, context))[0].argmax(-1).numpy()
    wanted = [[_rule(set(np.flatnonzero(row)), query, causal) for query in range(n)] for row in sets]
    assert (ours == wanted).all()
    order = closeness(n, causal)
    assert (closest(match[0].numpy().astype(bool) & (order > 0), order) == wanted).all()


@pytest.mark.parametrize("n", [32, 64])
def test_the_rule_holds_in_long_rows_of_many_values(n):
    random = np.random.default_rng(0)
    sets = random.random((20, n)) < 0.05
    match = torch.from_numpy(sets).float()[None, :, None, :].expand(1, -1, n, n)
    context = Context(Choice(), torch.ones(20, n, n), preference(n, match))
    ours = CategoricalHeads(1, 2, 64).scores(match, context)[0].argmax(-1).numpy()
    assert (ours == [[_rule(set(np.flatnonzero(row)), q, False) for q in range(n)] for row in sets]).all()


def test_both_formulas_of_the_score_agree_on_discrete_matches():
    match = (torch.rand(2, 5, 6, 6) < 0.3).float()
    visible = torch.ones(5, 6, 6).tril()
    heads = CategoricalHeads(2, 2, 6)
    hard, soft = (heads.scores(match, Context(Choice(mode), visible, preference(6, match)))
                  for mode in ("argmax", "soft"))
    assert torch.allclose(hard, soft, rtol=1e-5)


def test_a_numerical_head_counts_matches_and_gives_zero_without_any():
    heads = NumericalHeads(1, 2, 1, 3)
    with torch.no_grad():
        for gate in (heads.gate_q, heads.gate_k):
            gate.logits.copy_(torch.tensor([[9.0, 0.0]]))
        heads.predicate.logits.copy_(torch.eye(3)[None].roll(1, 2) * 9)  # 0 looks for 1, 1 for 2, 2 for 0
    tokens = torch.tensor([[0, 1, 1, 0]])
    symbols = torch.nn.functional.one_hot(tokens, 3).permute(2, 0, 1).float().repeat(2, 1, 1)
    context = Context(Choice(), torch.ones(1, 4, 4), preference(4, symbols))
    counts = heads(Stream(symbols, torch.ones(1, 1, 4)), context)
    assert counts.tolist() == [[[2.0, 0.0, 0.0, 2.0]]]


# -- the stream --------------------------------------------------------------------------------------------------------


def test_widths_are_those_of_the_paper():
    assert (HIST.d_model, INDUCTION.d_model) == (85, 41)
    for seed in range(20):
        s = random_sizes(seed)
        variables = (s.factors or 1) + 1 + s.n_layers * (s.cat_heads + s.cat_mlps + s.num_mlps)
        assert s.d_model == s.cardinality * variables + 1 + s.n_layers * s.num_heads
        cat, num = s.names()
        assert (len(cat), len(num)) == (variables, 1 + s.n_layers * s.num_heads)
        assert build_program_model(s, 0).unembed.weight.shape == (s.d_vocab_out, s.d_model)


def test_writing_and_reading_have_the_gradients_of_plain_tensors():
    stream = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    rows, gate = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 2, 3), (4, 2)))

    def fast(stream, rows, gate):
        return read(Write(1, rows).onto(Stream(stream, stream[:1])).symbols, gate, 2)

    def plain(stream, rows, gate):
        whole = torch.cat([stream[:1], stream[1:3] + rows, stream[3:]])
        return torch.einsum("gv,vcbp->gcbp", gate, whole[:4].unflatten(0, (2, 2)))

    assert torch.allclose(fast(stream, rows, gate), plain(stream, rows, gate))
    assert torch.autograd.gradcheck(fast, (stream, rows, gate))


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_variables_are_one_hot_or_whole_numbers_within_their_bound(seed):
    model = random_model(seed)
    s = model.sizes
    ids, mask = random_ids(s, 6, seed)
    _, cache = hook_program(model).run_with_cache(ids, names=f"blocks.{s.n_layers - 1}.hook_resid_post")
    stream = next(iter(cache.values()))[mask]
    one_hots = stream[:, : s.numbers_at].unflatten(-1, (-1, s.cardinality))
    assert set(one_hots.unique().tolist()) == {0.0, 1.0} and (one_hots.sum(-1) == 1).all()
    numbers = stream[:, s.numbers_at :]
    layers = torch.tensor([0, *(layer + 1 for layer in range(s.n_layers) for _ in range(s.num_heads))])
    assert (numbers == numbers.round()).all() and (numbers >= 0).all() and (numbers <= s.n_ctx ** layers).all()


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_padding_and_the_batch_change_nothing(seed):
    model = random_model(seed)
    ids, mask = random_ids(model.sizes, 5, seed)
    with torch.no_grad():
        together = model(ids)
        for row, real, found in zip(ids, mask, together):
            alone = model(row[None, : real.sum()])[0]
            assert torch.allclose(alone, found if model.sizes.pooled else found[: real.sum()], atol=1e-5)
        assert torch.allclose(model(ids, mask.long()), together)


def test_zeroing_the_rows_of_a_variable_removes_its_score_and_no_other():
    model = random_model(3, HIST)
    ids, mask = random_ids(HIST, 8, 0)
    out, cache = hook_program(model).run_with_cache(ids, names="blocks.0.hook_resid_post")
    rows = slice(3 * 8, 4 * 8)
    share = cache["blocks.0.hook_resid_post"][..., rows] @ model.unembed.weight[:, rows].T
    with torch.no_grad():
        model.unembed.weight[:, rows] = 0
        assert torch.allclose(model(ids)[mask], (out - share)[mask], atol=1e-6) and share[mask].abs().max() > 0


def test_training_mode_draws_from_its_choice_and_every_part_is_trained():
    model = build_program_model(random_sizes(1), 1).train()
    ids, _ = random_ids(model.sizes, 16, 1)

    def scores(seed):
        model.choice = Choice("soft", 1.0, torch.Generator().manual_seed(seed))
        return model(ids)

    assert torch.equal(scores(0), scores(0)) and not torch.equal(scores(0), scores(1))
    scores(0).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.choice = Choice("straight", 1.0, torch.Generator().manual_seed(0))
    model(ids).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


# -- sites and equations -----------------------------------------------------------------------------------------------

CONTRACT = {
    "hist": HIST,
    "two-layers": ProgramSizes(d_vocab=8, n_ctx=8, d_vocab_out=5, cardinality=8, n_layers=2),
    "text": ProgramSizes(d_vocab=40, n_ctx=8, d_vocab_out=5, cardinality=8, factors=3, pooled=True, cat_mlps=0),
    "causal": ProgramSizes(d_vocab=10, n_ctx=10, d_vocab_out=5, cardinality=10, n_layers=2, cat_heads=3, num_heads=0,
                           cat_mlps=0, num_mlps=0, causal=True),
    "numbers": ProgramSizes(d_vocab=6, n_ctx=6, d_vocab_out=5, cardinality=6, n_layers=2, cat_heads=0, cat_mlps=0),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", CONTRACT)
def test_the_model_keeps_every_law(name, dtype):
    sizes = CONTRACT[name]
    model = hook_program(build_program_model(sizes, 0).to(dtype))
    ids = torch.randint(0, sizes.pad, (6, sizes.n_ctx), generator=torch.Generator().manual_seed(0))
    check_model(model, ids).raise_if_failed()


def test_a_patched_gate_reads_another_variable():
    model = hook_program(random_model(0, HIST))
    ids, mask = random_ids(HIST, 8, 0)
    other = torch.tensor([0.0, 1.0])  # positions

    def positions(gate, site):
        return torch.cat([other[None], gate[1:]])

    seen = {}
    model.run_with_hooks(ids, hooks=[("blocks.0.attn.hook_gate_v", positions),
                                     ("blocks.0.attn.hook_v", lambda v, site: seen.update(v=v.clone()))])
    assert (seen["v"][:, :, 0].argmax(-1) == torch.arange(8)).all()


def test_the_catalog_builds_saves_and_describes_it(tmp_path):
    from interp.architectures import build, describe

    model = build(entry.NAME, seed=3, n_layers=2, causal=1)
    assert model.module.sizes.causal and torch.equal(
        model.module.unembed.weight, build(entry.NAME, seed=3, n_layers=2, causal=1).module.unembed.weight)
    model.save(tmp_path)
    files = read_model_files(tmp_path)
    assert entry.sizes_of(files.recipe) == model.module.sizes
    text = describe(entry.NAME)
    assert "closest match" in text and "attn.hook_predicate" in text


@pytest.mark.parametrize("change, message", [
    ({"cardinality": 7}, "give a cardinality of 8"),
    ({"d_vocab": 9}, "learned factors would"),
    ({"cat_heads": 0, "num_heads": 0}, "cannot look"),
    ({"n_layers": 0}, "1 is the least"),
])
def test_sizes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(BadInput, match=message):
        ProgramSizes(**{"d_vocab": 8, "n_ctx": 8, "d_vocab_out": 7, "cardinality": 8} | change)


def test_a_mask_with_padding_on_the_left_is_refused():
    with pytest.raises(BadInput, match="padding on the right"):
        random_model(0, HIST)(torch.zeros(1, 3, dtype=torch.long), torch.tensor([[0, 1, 1]]))


def test_a_gate_is_no_source_of_effects():
    model = hook_program(random_model(0, HIST))
    ids, _ = random_ids(HIST, 4, 0)
    with pytest.raises(BadInput, match="one value for all prompts"):
        effects(model, ids, [Source("blocks.0.attn.hook_predicate")], lambda out: out[:, 0, 0])
