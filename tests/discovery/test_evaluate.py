"""Held-out evidence for circuits of a hand-written model: every number against plain Python."""

import itertools

import numpy as np
import pytest
import torch

from interp.discovery import discover, evaluate
from interp.discovery.checks import completeness, grouped_removal, minimality, pair_interactions
from interp.discovery.controls import matched_circuits, same_size_circuits
from interp.discovery.curve import MIB_SHARES, faithfulness, mib_integrals
from interp.discovery.report import sections
from interp.discovery.runs import Circuits
from interp.discovery.truth import against_truth
from interp.results import BadInput, Circuit, MissingSite, Node, Run
from tests.discovery.hand import HEADS, MLP0, MLP1, UNIVERSE, hand_model, mixed, on_off, oracle, task_of

MODEL = hand_model()
TRUE = (HEADS[0], HEADS[1], HEADS[2], HEADS[4], MLP0)


def circuit(members, scores=None) -> Circuit:
    scores = scores or {n: 1.0 if n in members else 0.0 for n in UNIVERSE}
    return Circuit("hand", "logic", "by hand", tuple(members), scores)


def mean_of(task, removed) -> float:
    return oracle(task, removed).mean()


@pytest.mark.parametrize("members", [TRUE, (MLP0, HEADS[2], HEADS[4]), (MLP0, HEADS[0]), (HEADS[3], MLP1), (MLP0,)])
def test_faithfulness_and_necessity_are_ratios_of_means(members):
    task = mixed()
    part, others = task.part("test"), set(UNIVERSE) - set(members)
    found = evaluate(MODEL, circuit(members), task, draws=5)
    full, empty = mean_of(part, ()), mean_of(part, UNIVERSE)
    assert found.full.value == pytest.approx(full) and found.empty.value == pytest.approx(empty)
    assert found.faithfulness.value == pytest.approx((mean_of(part, others) - empty) / (full - empty))
    assert found.necessity.value == pytest.approx((full - mean_of(part, members)) / (full - empty))
    assert found.faithfulness.n == len(part) and "cluster" in found.faithfulness.method


def test_faithfulness_is_never_clipped():
    """A head that works against the answer: without it the circuit does more than the model."""
    cut, empty, full = np.array([3.0, 3.2, 3.1]), np.zeros(3), np.array([2.0, 2.1, 1.9])
    assert faithfulness(cut, empty, full, None).value == pytest.approx(9.3 / 6.0)
    assert faithfulness(-cut, empty, full, None).value == pytest.approx(-9.3 / 6.0)


def test_both_directions_see_what_one_hides():
    found = evaluate(MODEL, circuit(UNIVERSE), on_off(), draws=2).directions.set_index("node")
    noising = {HEADS[0]: 0, HEADS[1]: 0, HEADS[2]: 2, HEADS[3]: 0, HEADS[4]: 2, MLP0: 5, MLP1: 0}
    denoising = {HEADS[0]: 3, HEADS[1]: 3, HEADS[2]: 0, HEADS[3]: 0, HEADS[4]: 0, MLP0: 5, MLP1: 0}
    for node in UNIVERSE:
        assert found.loc[node.label, "noising"] == pytest.approx(noising[node])
        assert found.loc[node.label, "denoising"] == pytest.approx(denoising[node])


def test_pairs_tell_backups_from_partners():
    part = on_off().part("test")
    table = pair_interactions(Circuits(MODEL, part, UNIVERSE), HEADS, part)
    found = {frozenset((a, b)): v for a, b, v in zip(table["a"], table["b"], table["interaction"])}
    assert len(found) == 10
    for a, b in itertools.combinations(HEADS, 2):
        wanted = {frozenset((0, 1)): 3.0, frozenset((2, 4)): -2.0}.get(frozenset((a.head, b.head)), 0.0)
        assert found[frozenset((a.label, b.label))] == pytest.approx(wanted), (a.label, b.label)
    assert set(table[["a", "b"]].iloc[0]) == {"L0H0", "L0H1"}  # largest first
    assert pair_interactions(Circuits(MODEL, part, UNIVERSE), HEADS[:1], part).empty


def test_grouped_removal_shows_the_backup():
    part = on_off().part("test")
    table = grouped_removal(Circuits(MODEL, part, UNIVERSE), [HEADS[0], HEADS[1], HEADS[2]], part)
    assert table["together"].tolist() == pytest.approx([0, 3, 5])
    assert table["sum_of_singles"].tolist() == pytest.approx([0, 0, 2])
    assert table["last"].tolist() == ["L0H0", "L0H1", "L0H2"]


def gap(part, members, removed) -> float:
    left = set(members) - set(removed)
    return abs(mean_of(part, set(UNIVERSE) - left) - mean_of(part, removed))


def test_completeness_finds_the_backup_that_was_left_out():
    part = mixed().part("test")
    circuits = Circuits(MODEL, part, UNIVERSE)
    without = [HEADS[0], HEADS[2], HEADS[4], MLP0]  # head 1 stands in for head 0 in the model, not in the circuit
    found = completeness(circuits, without, draws=12, greedy=3, seed=0)
    every = [gap(part, without, k) for n in range(5) for k in itertools.combinations(without, n)]
    assert found["largest"] == pytest.approx(max(every))
    assert "L0H0" in found["worst"]
    assert 0 < found["mean"] <= found["largest"] and found["random_sets"] == 12 and found["greedy_steps"] == 3
    whole = completeness(circuits, UNIVERSE, draws=12, greedy=3, seed=0)
    assert whole["largest"] == pytest.approx(0, abs=1e-12)


def test_completeness_is_the_mean_over_the_sets_it_drew():
    part = mixed().part("test")
    members = [HEADS[0], HEADS[2], HEADS[4], MLP0]
    generator = np.random.default_rng(7)
    drawn = [[n for n in members if generator.random() < 0.5] for _ in range(6)]
    found = completeness(Circuits(MODEL, part, UNIVERSE), members, draws=6, greedy=0, seed=7)
    assert found["mean"] == pytest.approx(np.mean([gap(part, members, k) for k in drawn]))
    assert found["largest"] == pytest.approx(max(gap(part, members, k) for k in drawn))


def test_minimality_sees_members_that_add_nothing():
    part = on_off().part("test")
    members = [MLP0, HEADS[2], HEADS[4], HEADS[0], HEADS[3]]
    table = minimality(Circuits(MODEL, part, UNIVERSE), members, np.array([0.0, 0.0, 1.0])).set_index("node")
    assert table["adds"].to_dict() == pytest.approx({"MLP0": 5, "L0H2": 2, "L0H4": 2, "L0H0": 3, "L0H3": 0})
    assert table.loc["MLP0", "p"] == pytest.approx(1 / 4) and table.loc["L0H3", "p"] == 1


def grid(layers=4, heads=6):
    return [Node(f"blocks.{d}.attn.hook_z", head=h) for d in range(layers) for h in range(heads)] + [
        Node(f"blocks.{d}.hook_mlp_out") for d in range(layers)
    ]


def test_random_circuits_match_in_size_and_depth():
    universe = grid()
    chosen = [universe[0], universe[1], universe[13], universe[24], universe[26]]  # 2 at depth 0, 1 at 2, 2 MLPs
    drawn = matched_circuits(chosen, universe, draws=200, seed=0)
    assert len({frozenset(c) for c in drawn}) == len(drawn) == 200
    for c in drawn:
        heads = [n.depth for n in c if n.head is not None]
        assert len(c) == len(set(c)) == 5 and sorted(heads) == [0, 0, 2]
        assert sum(n.kind == "hook_mlp_out" for n in c) == 2 and set(c) != set(chosen)
    assert drawn == matched_circuits(chosen, universe, draws=200, seed=0)
    assert drawn != matched_circuits(chosen, universe, draws=200, seed=1)
    used = {n for c in drawn for n in c}
    assert used == {n for n in universe if n.kind == "hook_mlp_out" or n.depth in (0, 2)}


def test_there_are_only_so_many_matched_circuits():
    universe = grid(layers=1, heads=4)
    assert len(matched_circuits(universe[:2], universe[:4], draws=200, seed=0)) == 6 - 1
    assert len(same_size_circuits(universe[:2], universe, draws=200, seed=0)) == 10 - 1


def test_controls_say_how_often_chance_is_as_near():
    task = mixed()
    found = evaluate(MODEL, circuit(TRUE), task, draws=200)
    part = task.part("test")
    full, empty = mean_of(part, ()), mean_of(part, UNIVERSE)
    for control in found.controls:
        assert (np.abs(1 - control.faithfulness) <= abs(1 - found.faithfulness.value)).sum() < len(control.faithfulness)
    everywhere = [c for c in itertools.combinations(UNIVERSE, 5) if set(c) != set(TRUE)]
    values = [(mean_of(part, set(UNIVERSE) - set(c)) - empty) / (full - empty) for c in everywhere]
    same_size = found.controls[-1]
    np.testing.assert_allclose(np.sort(same_size.faithfulness), np.sort(values), atol=1e-12)  # all 20 there are


def test_the_published_areas_under_the_curve():
    """MIB's grid by hand: F of prefixes by signed score (CPR) and by size of score (CMD)."""
    task = on_off()
    part = task.part("test")
    scores = {MLP0: 5.0, HEADS[2]: 2.0, HEADS[4]: 1.9, HEADS[0]: -0.5, HEADS[1]: 0.1, HEADS[3]: 0.01, MLP1: 0.0}
    found = mib_integrals(Circuits(MODEL, part, list(scores)), scores)

    def area(order, of):
        counts = [max(1, round(share * 7)) for share in MIB_SHARES]
        f = [mean_of(part, set(UNIVERSE) - set(order[:k])) / 5.0 for k in counts]
        heights = [of(v) for v in f]
        return sum((b - a) * (x + y) / 2
                   for a, b, x, y in zip(MIB_SHARES, MIB_SHARES[1:], heights, heights[1:]))

    signed = [MLP0, HEADS[2], HEADS[4], HEADS[1], HEADS[3], MLP1, HEADS[0]]
    by_size = [MLP0, HEADS[2], HEADS[4], HEADS[0], HEADS[1], HEADS[3], MLP1]
    assert found["CPR"] == pytest.approx(area(signed, lambda f: f))
    assert found["CMD"] == pytest.approx(area(by_size, lambda f: abs(1 - f)))
    # 7 nodes: 1 node to a share of .2, then 4 of 7 (all of the answer) from .5 on: F = 0, ..., 0, 1, 1
    assert found["CPR"] == pytest.approx(0.3 * 0.5 + 0.5)


def test_scores_against_a_known_circuit():
    scores = {HEADS[0]: 0.9, HEADS[1]: -0.8, HEADS[2]: 0.3, HEADS[3]: 0.7, HEADS[4]: 0.1}
    found = against_truth(Circuit("hand", "logic", "x", (HEADS[0], HEADS[3]), scores), circuit((HEADS[0], HEADS[1])))
    # by |score|: + + - - -, so both areas are 1; members {0, 3} against {0, 1}: precision and recall 1/2
    assert found == pytest.approx({"AUPRC": 1.0, "precision at size": 1.0, "AUROC": 1.0, "F1": 0.5})
    scores = {HEADS[0]: 0.9, HEADS[1]: 0.2, HEADS[2]: 0.3, HEADS[3]: 0.7, HEADS[4]: 0.1}
    found = against_truth(Circuit("hand", "logic", "x", (HEADS[0],), scores), circuit((HEADS[0], HEADS[1])))
    # + - - + -: average precision (1/1 + 2/4) / 2, ranked pairs right 3 + 1 of 6, recall 1/2 at precision 1
    assert found == pytest.approx({"AUPRC": 0.75, "precision at size": 0.5, "AUROC": 4 / 6, "F1": 2 / 3})


def test_truth_that_cannot_be_scored_is_refused():
    with pytest.raises(BadInput, match="all or none"):
        against_truth(circuit(TRUE), circuit(UNIVERSE))
    stranger = Node("blocks.0.attn.hook_z", head=9)
    with pytest.raises(BadInput, match="the truth names L0H9, which was not scored"):
        against_truth(circuit(TRUE), Circuit("hand", "logic", "x", (stranger,), {stranger: 1.0}))


def test_circuits_that_cannot_be_evaluated_are_refused():
    with pytest.raises(BadInput, match="circuit is empty"):
        evaluate(MODEL, circuit(()), mixed())
    stranger = Node("blocks.5.attn.hook_z", head=0)
    with pytest.raises(MissingSite, match="no site 'blocks.5.attn.hook_z'"):
        evaluate(MODEL, Circuit("other", "logic", "x", (stranger,), {stranger: 1.0}), mixed())
    ones = torch.ones(16, 4, dtype=torch.long)
    with pytest.raises(BadInput, match="hand does not do logic here: clean minus emptied"):
        evaluate(MODEL, circuit(TRUE), task_of(ones, ones))


def test_the_unit_that_is_resampled_is_the_cluster():
    n = 64
    task = mixed(n)
    clusters = np.arange(n) // 4
    grouped = task_of(task.clean, task.corrupt, clusters)
    found = evaluate(MODEL, circuit(TRUE), grouped, draws=2)
    assert found.faithfulness.n == 4 and found.full.n == 4


def test_a_reopened_circuit_is_evaluated_alike(tmp_path):
    task = mixed()
    found = discover(MODEL, task)
    first = evaluate(MODEL, found, task, truth=circuit(TRUE))
    second = evaluate(MODEL, Circuit.load(found.save(tmp_path / "c.json")), task, truth=circuit(TRUE))
    first_frame, second_frame = first.frame(), second.frame()
    assert first_frame.equals(second_frame) and first.curve.equals(second.curve)
    assert first.pairs.equals(second.pairs) and first.minimal.equals(second.minimal)
    assert first.truth["AUROC"] == 1.0  # with mixed bits each of the five has an effect of its own
    assert first.faithfulness.value > 0.8


def test_a_run_holds_the_evidence(tmp_path):
    task = mixed()
    found = discover(MODEL, task)
    evidence = evaluate(MODEL, found, task, draws=20)
    run = Run.create(tmp_path / "run", "discover", {}, seed=0)
    found.save(run)
    evidence.save(run)
    named = {path.name.split(".")[0] for path in (tmp_path / "run").rglob("*.*")}
    assert {"circuit", "evaluation", "curve", "directions", "grouped", "pairs", "minimal"} <= named
    shown = {s.heading: s for s in sections(evidence)}
    assert next(iter(shown)) == "What was found" and len(shown) == 9
    looked = shown["Ledger"].table.set_index("prompts")["what was looked at on them"]
    assert list(looked.index) == ["discover", "select", "test"]
    assert looked["discover"] == f"{len(found.scores)} nodes scored by auto" and "random controls" in looked["test"]


class Kept:
    """A store of finished effects in memory."""

    def __init__(self):
        self.known: dict = {}

    def get(self, draw, label):
        return self.known.get((draw, label))

    def put(self, draw, labels, effects):
        self.known |= {(draw, label): row for label, row in zip(labels, effects, strict=True)}


def test_finished_runs_are_not_made_again_and_parts_are_kept_apart():
    task, store = mixed(), Kept()
    found = [evaluate(MODEL, circuit(TRUE), task, draws=5, seed=0, done=store) for _ in range(2)]
    assert found[1].cost["forwards"] < found[0].cost["forwards"] / 3
    assert found[0].frame().equals(found[1].frame())
    plain = evaluate(MODEL, circuit(TRUE), task, part="select", draws=5, seed=0)
    kept = evaluate(MODEL, circuit(TRUE), task, part="select", draws=5, seed=0, done=store)
    assert kept.frame().equals(plain.frame()) and not kept.frame().equals(found[0].frame())
