"""Interchange of compiled variables: the model's answer is the program's with the variable exchanged."""

import numpy as np
import pytest
import torch

from interp.programs.compile import compile
from interp.programs.compile.iia import interchange, interchanges, simulate_with
from interp.programs.compile.simulate import simulate
from interp.programs.rasp import readout, tokens
from interp.programs.rasp.library import hist
from interp.results import BadInput

CASES = [
    ("reverse", {}), ("hist", {"rotate": 1}), ("frac_prevs", {"norm": "rmsnorm"}),
    ("sort_unique", {"norm": "layernorm", "rotate": 2}), ("induction", {"causal": True}),
]


@pytest.mark.parametrize("name, options", CASES)
def test_accuracy_is_one_on_every_variable(name, options):
    found = interchanges(compile(name, length=4, **options), n=40)
    assert (found["accuracy"] == 1).all() and (found["pairs"] + found["undefined"] == 40).all()
    used = found[found["variable"] != "indices"]  # which are the same in every sequence
    assert (used["changed"] > 0).all() and (used["matters"] == 1).all()
    assert not found.loc[found["variable"] == "indices", "changed"].any()


def test_a_readout_answers_with_its_best_label():
    scores = {value: np.eye(4)[value].tolist() for value in range(1, 4)}
    compiled = compile(readout({hist(): scores}, labels=range(4)), "abc", 3)
    assert (interchanges(compiled, n=30)["accuracy"] == 1).all()


def test_other_directions_fail():
    compiled = compile("sort_unique", length=4)
    assert interchange(compiled, "place").accuracy_where_it_matters.value == 1
    wrong = torch.randn(compiled.directions["place"].shape, generator=torch.Generator().manual_seed(0))
    assert interchange(compiled, "place", directions=wrong).accuracy_where_it_matters.value < 0.7
    other = interchange(compiled, "place", directions=compiled.directions["indices"])
    assert other.changes.any() and other.accuracy_where_it_matters.value < 0.7


def test_a_model_that_ignores_a_variable_fails():
    compiled = compile("sort_unique", length=4)
    with torch.no_grad():
        compiled.parts.module.blocks[1].attn.q.weight.zero_()
    found = interchange(compiled, "place")
    assert found.changes.any() and found.accuracy_where_it_matters.value < 0.5


def test_pairs_without_an_answer_are_counted_apart():
    """Exchanging keys alone lets a categorical aggregate select several values: the program refuses, pair by pair."""
    from interp.programs.rasp import aggregate, map, select

    first = map(lambda t: t == "a", tokens).named("is_a")
    program = aggregate(select(first, first, lambda k, q: k and q), tokens, "none")
    found = interchange(compile(program, "abc", 3), "is_a", n=60)
    assert 0 < found.undefined < 60 and len(found.agrees) + found.undefined == 60
    assert found.accuracy.value == 1


def test_simulation_without_exchange_is_the_program():
    compiled = compile("sort_freq", length=4)
    ids = np.random.default_rng(0).integers(0, 4, (20, 4))
    for a, b in zip(simulate_with(compiled.graph, ids), simulate(compiled.graph, ids)):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_be_exchanged_is_refused():
    compiled = compile("reverse", length=3)
    with pytest.raises(BadInput, match='no variable "?\'?oposite.*Did you mean'):
        interchange(compiled, "oposite")
    with pytest.raises(BadInput, match=r"directions have shape \[3\]"):
        interchange(compiled, "opposite", directions=torch.zeros(3))
    with pytest.raises(BadInput, match="share directions"):
        interchange(compile("reverse", length=3, compress=compiled.rank()), "opposite")
