"""Discovery on a model whose circuit is known: what is found, what single effects hide, what is not looked at."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom
from torch import nn

import interp
from interp.adapters import At, hook
from interp.discovery import METHODS, discover, nodes
from interp.discovery.auto import auto_scores, missed_bound, shortlist
from interp.discovery.curve import smallest_within
from interp.discovery.methods import head_by_head
from interp.discovery.nodes import source
from interp.discovery.runs import Circuits, sizes
from interp.effects import effects
from interp.hooks import Counterfactual
from interp.results import BadInput, Circuit, Node
from interp.tasks.metrics import LogitDiff
from tests.discovery.hand import HEADS, MLP0, MLP1, UNIVERSE, hand_model, mixed, on_off, oracle, task_of
from tests.effects.models import inputs, tiny

MODEL = hand_model()
SUBSETS = st.sets(st.sampled_from(UNIVERSE))


def test_the_model_is_its_own_oracle():
    task = mixed()
    np.testing.assert_allclose(task.metric(MODEL(task.clean)).detach(), oracle(task, ()))
    np.testing.assert_allclose(task.metric(MODEL(task.corrupt)).detach(), oracle(task, UNIVERSE))
    assert 0.5 < oracle(task, ()).mean() - oracle(task, UNIVERSE).mean()


def test_nodes_are_heads_and_mlps_in_execution_order():
    assert nodes(MODEL) == list(UNIVERSE)
    assert nodes(MODEL, positions=[0, -1])[:2] == [Node(HEADS[0].site, 0, 0), Node(HEADS[0].site, 0, -1)]
    albert = nodes(tiny("albert"))
    assert len(albert) == 4 * (4 + 1)  # a node a visit
    assert len([n for n in nodes(tiny("llama")) if n.head is not None]) == 2 * 4  # query heads, not key/value heads
    assert {n.kind for n in nodes(tiny("t5"))} == {"attn.hook_z", "cross_attn.hook_z", "hook_mlp_out"}
    assert {n.kind for n in nodes(tiny("mamba"))} == {"hook_mixer_out"}


@given(kept=SUBSETS, removed=SUBSETS)
def test_cut_models_do_what_the_logic_says(kept, removed):
    part = mixed(16).part("test")
    circuits = Circuits(MODEL, part, UNIVERSE)
    np.testing.assert_allclose(circuits.keep([kept])[0], oracle(part, set(UNIVERSE) - kept))
    np.testing.assert_allclose(circuits.remove([removed])[0], oracle(part, removed))
    np.testing.assert_allclose(circuits.full, oracle(part, ()))
    np.testing.assert_allclose(circuits.empty, oracle(part, UNIVERSE))


def test_cut_models_are_run_once():
    circuits = Circuits(MODEL, mixed(16).part("test"), UNIVERSE)
    circuits.keep([[MLP0, HEADS[2]], [HEADS[2], MLP0]])
    before = circuits.forwards
    circuits.keep([[HEADS[2], MLP0], UNIVERSE, []])
    assert circuits.forwards == before


def test_scores_are_the_exact_single_effects():
    found = discover(MODEL, mixed())
    part = mixed().part("discover")
    wanted, restored = {}, 0
    for n in UNIVERSE:
        down = (oracle(part, ()) - oracle(part, [n])).mean()
        # a restored head is read by an MLP whose other inputs stay corrupt; a restored MLP gives its clean answer
        up = (oracle(part, set() if n is MLP0 else set(HEADS) - {n}) - oracle(part, UNIVERSE)).mean()
        wanted[n], restored = max(down, up, key=abs), restored + (abs(up) > abs(down))
    assert found.scores == pytest.approx(wanted)
    assert found.method == "auto" and found.provenance["exact"] == len(UNIVERSE)
    assert found.provenance["restored"] == restored > 0
    assert discover(MODEL, mixed(), "ablation").scores == pytest.approx(
        {n: (oracle(part, ()) - oracle(part, [n])).mean() for n in UNIVERSE})


@pytest.mark.parametrize("name", ["hand", "gpt2", "albert", "t5", "swin"])
def test_ablation_equals_head_by_head_patching(name):
    if name == "hand":
        model, task = MODEL, mixed(8)
    else:
        model = tiny(name)
        clean = inputs(name, batch=3)
        task = FakePart(clean, inputs(name, batch=3, seed=9))
    universe = nodes(model)
    removed = head_by_head(model, task, universe).mean(1)
    restored = -head_by_head(model, swapped(task), universe).mean(1)
    sources, baseline = [source(n) for n in universe], Counterfactual(task.corrupt)
    exact = effects(model, task.clean, sources, task.metric, baseline=baseline).values.double().mean(1)
    tolerance = 1e-9 * np.abs(removed).max()
    np.testing.assert_allclose(exact, removed, atol=tolerance)
    scores, facts = auto_scores(model, task, sources, baseline=baseline, budget=512, seed=0, rows=None)
    np.testing.assert_allclose(np.abs(scores), np.maximum(np.abs(removed), np.abs(restored)), atol=tolerance)
    np.testing.assert_allclose(scores, np.where(np.abs(restored) > np.abs(removed), restored, removed), atol=tolerance)
    assert facts["restored"] == (np.abs(restored) > np.abs(removed)).sum()


def swapped(task):
    """The task the other way round."""
    if isinstance(task, FakePart):
        return FakePart(task.corrupt, task.clean)
    return replace(task, clean=task.corrupt, corrupt=task.clean)


class FakePart:
    """What the scoring of a task's part reads, with a metric of any output."""

    def __init__(self, clean, corrupt):
        self.clean, self.corrupt, self.metric = clean, corrupt, lambda out: out.flatten(1)[:, ::3].sum(1)

    def __len__(self):
        return 3


def test_the_circuit_that_noising_finds():
    """All bits on against all off: OR hides its two heads from single removals, so they come last."""
    found = discover(MODEL, on_off(), "ablation")
    assert found.scores == {**dict.fromkeys(HEADS, 0.0), HEADS[2]: 2, HEADS[4]: 2, MLP0: 5, MLP1: 0}
    assert found.nodes[:3] == (MLP0, HEADS[2], HEADS[4])
    # F of the prefixes: 0, 0, 0, 2/5, then one of OR's heads makes it whole
    assert found.provenance["curve"]["faithfulness"] == pytest.approx([0, 0, 0, 0.4, 1, 1, 1, 1])
    assert found.nodes == (MLP0, HEADS[2], HEADS[4], HEADS[0])


def test_restoring_finds_what_noising_hides():
    """OR's heads bring its 3 back alone; AND's bring nothing back alone and cost 2 when they are removed."""
    found = discover(MODEL, on_off())
    assert found.scores == {HEADS[0]: 3, HEADS[1]: 3, HEADS[2]: 2, HEADS[3]: 0, HEADS[4]: 2, MLP0: 5, MLP1: 0}
    assert found.provenance["restored"] == 2


def test_other_baselines_only_remove():
    part = on_off().part("discover")
    scores, facts = auto_scores(MODEL, part, [source(n) for n in UNIVERSE], baseline="zero", budget=512, seed=0,
                                rows=None)
    assert scores.tolist() == [0, 0, 2, 0, 2, 5, 0] and facts["restored"] == 0


def test_both_directions_are_resumed_apart():
    """What a killed run had finished of one direction is not taken for the other's."""
    kept = {}

    class Store:
        def get(self, draw, label):
            return kept.get(label)

        def put(self, draw, labels, found):
            kept.update(zip(labels, found))

    first = discover(MODEL, on_off(), done=Store()).scores
    assert {n.name for n in HEADS} | {f"restoring: {n.name}" for n in HEADS} <= set(kept)
    assert discover(MODEL, on_off(), done=Store()).scores == first


def test_the_size_is_chosen_from_where_on_the_curve_stays_inside():
    import pandas as pd

    def curve(*values):
        return pd.DataFrame({"k": range(len(values)), "faithfulness": values})

    assert smallest_within(curve(0, 0.9, 0.5, 0.85, 1.1, 1), (0.8, 1.2)) == 3  # one early hit does not count
    assert smallest_within(curve(0, 1.0, 1.3, 1.0), (0.8, 1.2)) == 3
    assert smallest_within(curve(0.9, 1, 1), (0.8, 1.2)) == 0
    with pytest.raises(BadInput, match="two rising numbers"):
        smallest_within(curve(0, 1), (1.2, 0.8))
    assert sizes(5) == [0, 1, 2, 3, 4, 5]
    assert sizes(100)[-1] == 100 and sizes(100) == sorted(set(sizes(100)))


class Spy(nn.Module):
    """Keeps the prompts that a module saw."""

    def __init__(self, module):
        super().__init__()
        self.seen = set()
        self.handle = module.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, module, args, kwargs):
        self.seen |= {tuple(row) for row in kwargs["ids"].tolist()}


@pytest.mark.parametrize("method", ["auto", "ablation", "tangent", "random"])
def test_discovery_sees_nothing_of_the_test_prompts(method):
    generator = torch.Generator().manual_seed(0)
    rows = torch.cartesian_prod(*[torch.arange(2)] * 8)[torch.randperm(256, generator=generator)][:48]
    task = task_of(rows[:, :4] | rows[:, 4:], rows[:, :4] & rows[:, 4:])
    # bits decide which prompts are equal, so the test part gets a fifth bit of its own
    extra = torch.zeros(48, 1, dtype=torch.long)
    extra[task.split["test"]] = 1
    task = task_of(torch.cat([task.clean, extra], 1), torch.cat([task.corrupt, extra], 1))
    spy = Spy(MODEL.module)
    try:
        discover(MODEL, task, method)
    finally:
        spy.handle.remove()
    assert spy.seen and all(row[4] == 0 for row in spy.seen)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"random", "gradient-norm"}))
def test_every_method_finds_what_the_answer_goes_through(method):
    found = discover(MODEL, mixed(), method)
    assert MLP0 in found.nodes[:4] and found.method == method
    assert found.scores[MLP1] == pytest.approx(0, abs=1e-9)
    assert json.loads(json.dumps(found.provenance)) == found.provenance


def test_random_scores_are_seeded():
    first, again, other = (discover(MODEL, mixed(), "random", seed=s).scores for s in (0, 0, 1))
    assert first == again != other


def test_a_circuit_reopens_identically(tmp_path):
    found = discover(MODEL, mixed())
    path = found.save(tmp_path / "circuit.json")
    again = Circuit.load(path)
    assert again == found and again.nodes == found.nodes and again.provenance == found.provenance
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_unknown_methods_and_small_tasks_are_refused():
    with pytest.raises(BadInput, match='Did you mean "ablation"'):
        discover(MODEL, mixed(), "ablatoin")
    with pytest.raises(BadInput, match="is empty"):
        discover(MODEL, task_of(torch.ones(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)))


def test_a_task_that_the_model_does_not_do_is_refused():
    ones = torch.ones(16, 4, dtype=torch.long)
    with pytest.raises(BadInput, match="hand does not do logic here: clean minus emptied .* is 0 .*: use more prompts"):
        discover(MODEL, task_of(ones, ones))


@pytest.mark.parametrize("n", [3, 4, 5])
def test_prompts_that_leave_a_part_with_one_are_refused_without_a_word_of_ratios(n):
    model = interp.load("garden/induction-2l")
    with pytest.raises(BadInput, match="a part of induction has one prompt .*6 give every part two"):
        discover(model, interp.task("induction", model=model, n=n, seed=0))
    assert discover(model, interp.task("induction", model=model, n=6, seed=0)).nodes


# -- above the budget --------------------------------------------------------------------------------------------


class Many(nn.Module):
    """`n` heads that each carry one bit to the answer with a weight of its own; tanh makes their sum curved."""

    def __init__(self, weights):
        super().__init__()
        self.embed = nn.Embedding(2, 1)
        self.out = nn.Linear(len(weights), 1, bias=False)
        self.embed.weight.data = torch.tensor([[0.0], [1.0]])
        self.out.weight.data = torch.as_tensor(weights, dtype=torch.float32)[None]

    def forward(self, ids):
        answer = torch.tanh(self.out(self.embed(ids)[..., 0])[:, None])
        return torch.cat([answer, torch.zeros_like(answer)], -1)


def many(weights):
    model = hook(
        Many(weights).double().eval(), name="many", input_name="ids",
        sites={"hook_embed": "embed", "blocks.0.attn.hook_z": At("out", "in", heads=len(weights))},
    )
    return model, [Node("blocks.0.attn.hook_z", head=h) for h in range(len(weights))]


def many_task(n_heads: int, n: int = 8):
    ones = torch.ones(n, n_heads, dtype=torch.long)
    task = task_of(ones, torch.zeros_like(ones))
    zeros = torch.zeros(n, dtype=torch.long)
    return replace(task, metric=LogitDiff(zeros, zeros, zeros + 1))


WEIGHTS = 0.01 * np.random.default_rng(0).standard_t(2, 120)


def auto(budget: int, seed: int = 0):
    model, universe = many(WEIGHTS)
    task = many_task(len(WEIGHTS)).part("discover")
    exact, _ = auto_scores(model, task, [source(n) for n in universe], baseline=Counterfactual(task.corrupt),
                           budget=1000, seed=0, rows=None)
    scores, facts = auto_scores(model, task, [source(n) for n in universe], baseline=Counterfactual(task.corrupt),
                                budget=budget, seed=seed, rows=None)
    return exact, scores, facts


@pytest.mark.parametrize("budget", [10, 60, 100])
def test_auto_above_the_budget_confirms_exactly_as_many_as_it_may(budget):
    exact, scores, facts = auto(budget)
    confirmed = np.isclose(scores, exact, rtol=1e-12, atol=0)
    assert facts["exact"] == budget == facts["shortlist"] + facts["sample"]
    assert confirmed.sum() >= budget
    top = np.argsort(-np.abs(exact))[: facts["shortlist"] // 3]
    assert confirmed[top].all()  # here every linear rule set ranks as the truth does
    rest = np.abs(scores[~confirmed])
    assert rest.max(initial=0) <= np.abs(scores[confirmed]).min() + 1e-15
    assert facts["missed"]["of"] == len(WEIGHTS) - facts["shortlist"]
    assert facts["forwards"] > 0


def test_auto_says_what_it_may_have_missed():
    for seed in range(20):
        exact, scores, facts = auto(60, seed)
        bound = facts["missed"]
        larger = int((np.abs(exact) > bound["exceed"]).sum()) - int((np.abs(scores) > bound["exceed"]).sum())
        assert 0 <= larger <= bound["at_most"]  # all large ones are on the shortlist here


def test_shortlist_takes_from_every_rule_set_in_turn():
    linear = [np.array([9.0, 1, 0, 0, -8]), np.array([0.0, 0, -7, 6, 0])]
    assert shortlist(linear, 1).tolist() == [0]
    assert shortlist(linear, 2).tolist() == [0, 2]
    assert shortlist(linear, 4).tolist() == [0, 2, 3, 4]
    assert shortlist(linear, 0).tolist() == []
    assert shortlist(linear, 9).tolist() == [0, 1, 2, 3, 4]


@given(population=st.integers(1, 400), data=st.data())
def test_the_bound_is_the_smallest_that_the_hypergeometric_law_allows(population, data):
    n = data.draw(st.integers(0, population))
    bound = missed_bound(np.arange(n, dtype=float), population)
    k = bound["at_most"]
    # a population with k + 1 larger members would have shown one with 95 %; one with k would not have had to
    if k < population - n:
        assert hypergeom.pmf(0, population, k + 1, n) <= 0.05 + 1e-12
    if 0 < k:
        assert hypergeom.pmf(0, population, k, n) > 0.05 - 1e-12
    assert bound["of"] == population and 0 <= k <= population - n


def test_the_bound_covers_what_it_says():
    """200 populations of 300 heavy-tailed effects, 32 drawn from each: how often at most K were larger."""
    generator, held = np.random.default_rng(0), 0
    for _ in range(200):
        population = np.abs(generator.standard_t(1.5, 300))
        sample = generator.choice(population, 32, replace=False)
        bound = missed_bound(sample, 300)
        held += int((population > bound["exceed"]).sum()) <= bound["at_most"]
    assert held == 191  # 95.5 % of 200 with this seed; at least 95 % is what is promised
