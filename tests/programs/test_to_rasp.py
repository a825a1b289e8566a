from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.compile import compile
from interp.programs.inputs import draw, every
from interp.programs.program import NOWHERE, Program
from interp.programs.rasp import evaluate
from interp.programs.rounding import grain
from tests.programs.hand import either, histogram, induction
from tests.programs.random_programs import programs, random_program


def _framed(program: Program, tokens) -> list[str]:
    return [*([program.begin] if program.begin else []), *tokens, *([program.end] if program.end else [])]


def _inner(program: Program, answers: list) -> list:
    """The answers to the tokens: between begin and end, or the last one where the program is pooled."""
    if program.pooled:
        return answers[-1:]
    return answers[program.begin is not None : len(answers) - (program.end is not None)]


@given(programs, st.integers(0, 1000))
def test_the_expression_means_what_the_program_does(program, seed):
    expression = program.to_rasp()
    for tokens in draw(program, 5, seed):
        found = evaluate(expression, _framed(program, tokens), program.causal)
        assert _inner(program, found) == program.run(list(tokens))


def _disagreements(program: Program) -> int:
    compiled = compile(program.to_rasp(), vocab=program.vocab, length=program.n_ctx, causal=program.causal)
    sequences = [list(tokens) for tokens in every(program)]
    return sum(
        _inner(program, compiled.run(_framed(program, tokens))) != program.run(tokens) for tokens in sequences
    )


@pytest.mark.parametrize("program", [histogram("ab", 5), induction(n_ctx=4), either(4)], ids=lambda p: p.name)
def test_hand_made_programs_become_weights_that_answer_alike_on_all_inputs(program):
    assert _disagreements(program) == 0
    assert _disagreements(program.prune()) == 0


# 16 and 22 read nothing but their input, which the compiler refuses: they have no operator to compile
@pytest.mark.parametrize("seed", [seed for seed in range(18) if seed != 16])
def test_random_programs_become_weights_that_answer_alike_on_all_inputs(seed):
    assert _disagreements(random_program(seed, layers=1 + seed % 2, words=2, n_ctx=4)) == 0


def test_of_equal_scores_the_first_label_wins_in_the_weights_too():
    program = replace(either(3), readout={"or": np.array([[0.0, 0], [0, 1]])})
    assert program.run(["o", "o"]) == ["no", "no"]
    assert _disagreements(program) == 0


def test_a_pair_that_cannot_occur_has_no_value():
    expression = either().to_rasp()
    which = next(read for read in expression.reads if str(read) == "or")
    assert either().writer("or").table[0, 1] == NOWHERE
    assert evaluate(which, ["x", "<s>", "o"]) == ["yes", None, "no"]


def test_the_grain_of_scores():
    base = histogram()
    assert grain(base) == 0.5
    assert grain(replace(base, bias=base.bias * 2)) == 1
    assert grain(replace(base, bias=base.bias + 0.1)) is None
