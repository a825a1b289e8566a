from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.debug import counter_example, coverage, explain, smallest
from interp.programs.evaluate import scores, values
from interp.programs.inputs import draw, every, how_many, run_many, same_length
from interp.results.errors import BadInput
from tests.programs import literal
from tests.programs.hand import histogram, induction
from tests.programs.random_programs import programs, random_program


def test_coverage_of_a_histogram_by_hand():
    found = coverage(histogram("ab", 4), [["a", "a"], ["a"]])
    rows = {(row["part"], row["when"]): row for row in found.rows}
    assert {key: row["count"] for key, row in rows.items()} == {
        ("predicate", "tokens = <s>"): 2, ("predicate", "tokens = a"): 3, ("predicate", "tokens = b"): 0,
        ("match", "no key matches"): 2, ("match", "some key matches"): 3,
    }
    assert rows["predicate", "tokens = a"]["then"] == "tokens = a"
    assert rows["predicate", "tokens = a"]["example"] == ["a", "a"] and rows["predicate", "tokens = a"]["pos"] == 1
    assert [row["when"] for row in found.unused] == ["tokens = b"] and found.unused[0]["example"] is None
    assert found.frame().shape == (5, 7) and found.frame().attrs["sequences"] == 2


@given(programs, st.integers(0, 1000))
def test_coverage_counts_positions_as_a_loop_does(program, seed):
    sequences = draw(program, 6, seed)
    rows = {(row["variable"], row["part"], row["when"]): row for row in coverage(program, sequences).rows}
    counts: dict = {}
    for tokens in sequences:
        framed = [*([program.begin] if program.begin else []), *tokens, *([program.end] if program.end else [])]
        found = literal.variables(program, framed)
        for step in program.operators:
            for pos in range(len(framed)):
                if hasattr(step, "table"):
                    when = f"{step.first} = {found[step.first][pos]}, {step.second} = {found[step.second][pos]}"
                    use = (step.out.name, "table", when)
                else:
                    use = (step.out.name, "predicate", f"{step.query} = {found[step.query][pos]}")
                counts[use] = counts.get(use, 0) + 1
    used = {use: row["count"] for use, row in rows.items() if use[1] in ("table", "predicate") and row["count"]}
    assert used == counts
    for (variable, part, when), row in rows.items():
        if row["count"] and part == "predicate":
            framed = [*([program.begin] if program.begin else []), *row["example"],
                      *([program.end] if program.end else [])]
            step = program.writer(variable)
            assert when == f"{step.query} = {literal.variables(program, framed)[step.query][row['pos']]}"


def test_an_explanation_by_hand():
    why = explain(induction(), list("a1a"), 2)
    assert (why.answer, why.margin, why.bias) == ("1", 1.0, 0.0)
    ((added, trace),) = why.parts
    assert added == 1 and trace.because == "tokens = a looks for before = a; the closest is position 2"
    assert [(read.variable, read.pos, read.value) for read in trace.reads] == [
        ("tokens", 3, "a"), ("before", 2, "a"), ("tokens", 2, "1")
    ]
    before = trace.reads[1]
    assert before.because == "positions = 2 looks for positions = 1; the closest is position 1"
    assert str(why).splitlines()[2] == f"+1  answer[3] = 1: {trace.because}"


def test_an_explanation_where_nothing_matches():
    why = explain(induction(), list("ab"), 1)
    assert why.answer == "?"
    assert why.parts[0][1].because == "tokens = b looks for before = b; none matches, so position 0 is read"


def test_a_count_is_explained_by_the_positions_it_counts():
    trace = explain(histogram(), list("aba"), 2).parts[0][1]
    assert trace.value == "2"
    assert trace.because == "tokens = a looks for tokens = a; ones is summed over positions [1, 3]"


@given(programs, st.integers(0, 1000))
def test_margins_are_the_sum_of_their_parts(program, seed):
    tokens = list(draw(program, 1, seed)[0])
    pos = None if program.pooled else seed % len(tokens)
    why = explain(program, tokens, pos)
    answers = program.run(tokens)
    assert why.answer == answers[pos or 0] != why.runner_up
    assert why.margin >= -1e-9
    assert np.isclose(why.margin, why.bias + sum(added for added, _ in why.parts))
    ((_, ids),) = same_length(program, [tokens])
    total = scores(program, values(program, ids))[0]
    row = total.mean(0) if pos is None else total[pos + (program.begin is not None)]
    allowed = [s for s, label in zip(row, program.labels) if label not in program.never]
    assert np.isclose(why.margin, np.diff(np.sort(allowed)[-2:])[0])


@given(programs, st.integers(0, 1000))
def test_traces_hold_the_values_there_are(program, seed):
    tokens = list(draw(program, 1, seed)[0])
    framed = [*([program.begin] if program.begin else []), *tokens, *([program.end] if program.end else [])]
    found = literal.variables(program, framed)
    why = explain(program, tokens, None if program.pooled else 0)
    todo = [trace for _, trace in why.parts]
    seen = set()
    while todo:
        trace = todo.pop()
        if id(trace) not in seen:
            seen.add(id(trace))
            assert str(found[trace.variable][trace.pos]) == trace.value
            todo += trace.reads
    assert str(why)


def test_positions_that_have_no_answer_cannot_be_explained():
    for pos in (None, -1, 2):
        with pytest.raises(BadInput, match="0 to 1"):
            explain(histogram(), ["a", "b"], pos)
    with pytest.raises(BadInput, match="leave `pos` out"):
        explain(random_program(0, pooled=True), [random_program(0, pooled=True).vocab[-1]], 0)
    with pytest.raises(BadInput, match="can answer nothing but '0'"):
        explain(replace(histogram(), never=("1", "2", "3", "4")), ["a"], 0)


def test_the_smallest_part_for_one_letter_counts_that_letter():
    program = histogram("abc", 5)
    found = smallest(program, [["a"], ["a", "a"], ["a"] * 4])
    assert found.after.entries < found.before.entries
    head = found.program.writer("same")
    assert (head.predicate >= 0).sum() == 1
    assert found.program.run(["a", "a", "a"]) == ["3", "3", "3"]  # not among those asked, and right


def test_answers_that_do_not_matter_are_left_open():
    program = induction()
    found = smallest(program, [list("a1a")], [[None, None, "1"]])
    assert found.program.run(list("a1a"))[2] == "1"
    assert smallest(program, [list("a1a")], [[None] * 3]).after.entries == 0


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 7])
def test_of_the_smallest_part_nothing_more_can_go(seed):
    program = random_program(seed, layers=2)
    sequences = draw(program, 12, seed)
    wanted = run_many(program, sequences)
    found = smallest(program, sequences)
    small = found.program
    assert run_many(small, sequences) == wanted
    for name in small.readout:
        less = replace(small, readout={other: rows for other, rows in small.readout.items() if other != name})
        assert run_many(less, sequences) != wanted
    for layer, steps in enumerate(small.layers):
        for i, step in enumerate(steps):
            for row in np.flatnonzero(step.predicate >= 0) if hasattr(step, "predicate") else ():
                predicate = step.predicate.copy()
                predicate[row] = -1
                changed = (*steps[:i], replace(step, predicate=predicate), *steps[i + 1 :])
                less = replace(small, layers=(*small.layers[:layer], changed, *small.layers[layer + 1 :]))
                assert run_many(less, sequences) != wanted
    again = smallest(small, sequences, wanted)
    assert again.removed == 0 and again.after == found.after


def test_a_program_that_does_not_solve_the_problem_has_no_smallest_part():
    with pytest.raises(BadInput, match="itself answers 1 of 2 sequences otherwise"):
        smallest(histogram(), [["a"], ["b"]], [["1"], ["2"]])
    with pytest.raises(BadInput, match="never answers '9'"):
        smallest(histogram(), [["a"]], [["9"]])
    with pytest.raises(BadInput, match="1 tokens and 2 answers"):
        smallest(histogram(), [["a"]], [["1", "1"]])
    with pytest.raises(BadInput, match="give as many"):
        smallest(histogram(), [], [])


def test_all_inputs_are_a_proof():
    program = histogram("ab", 5)
    found = counter_example(program, lambda tokens, answers: answers == [str(tokens.count(t)) for t in tokens])
    assert found.found is None and found.exhaustive and found.tried == how_many(program) == 30
    found = counter_example(program, lambda tokens, answers: "3" not in answers)
    assert found.found == ["a", "a", "a"] and found.answers == ["3"] * 3
    assert found.shortest and not found.exhaustive


def test_a_search_that_cannot_try_all_says_so():
    program = histogram("abcdefgh", 12)
    found = counter_example(program, lambda tokens, answers: True, most=500)
    assert found.found is None and not found.exhaustive and found.tried == 500 and found.length == 11


def test_the_search_finds_what_is_rare_and_shrinks_it():
    program = histogram("abcdefgh", 12)
    # a random sequence of 11 has eight of one letter with probability 4e-5
    found = counter_example(program, lambda tokens, answers: "8" not in answers, most=30_000)
    assert found.found == ["a"] * 8 and found.answers == ["8"] * 8
    assert not found.exhaustive and not found.shortest


def test_a_broken_program_is_caught_where_it_is_broken():
    program = histogram("ab", 5)
    head = program.layers[0][0]
    broken = replace(program, layers=((replace(head, predicate=np.array([-1, 1, 1])),),))
    found = counter_example(broken, lambda tokens, answers: answers == program.run(tokens))
    assert found.found == ["b"] and found.answers == ["0"]


def test_the_same_seed_searches_alike():
    program = histogram("abcdefgh", 12)
    asked: list[list] = [[], []]
    for record in asked:
        counter_example(program, lambda tokens, answers, r=record: r.append(tokens) or True, most=700, seed=3)
    assert asked[0] == asked[1] and len(asked[0]) == 700


@given(programs)
def test_a_found_violation_is_one(program):
    first = run_many(program, list(every(program, 1)))[0]
    found = counter_example(program, lambda tokens, answers: answers[0] == first[0], most=400)
    if found.found is not None:
        assert program.run(found.found) == found.answers and found.answers[0] != first[0]
    elif found.exhaustive:
        assert {answers[0] for answers in run_many(program, list(every(program)))} == {first[0]}
