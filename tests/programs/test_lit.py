"""The lines that are said to be used, against Python itself running the emitted file line by line."""

import ast
import sys
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.garden.shipped_programs import open_program, program_names
from interp.programs.debug import lit
from interp.programs.inputs import draw
from interp.results.errors import BadInput
from tests.programs.random_programs import programs


def run_through(text: str, tokens) -> dict[int, set[int]]:
    """{line of a return or raise in a step's function: positions at which it was reached}. The text is our own."""
    names: dict = {"__name__": "emitted"}
    exec(compile(text, "emitted", "exec"), names)
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    ends = {line for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Return | ast.Raise)
            for line in range(node.lineno, node.end_lineno + 1)}
    calls: dict[str, int] = defaultdict(lambda: -1)
    reached: dict[int, set[int]] = defaultdict(set)

    def trace(frame, event, arg):
        name = frame.f_code.co_name
        if frame.f_code.co_filename != "emitted" or name not in functions or not name.endswith(("_key", "_value")):
            return None
        calls[name] += 1

        def line(frame, event, arg, at=calls[name]):
            if event == "line" and frame.f_lineno in ends:
                reached[frame.f_lineno].add(at)
            return line

        return line

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        names["variables"](list(tokens))
    finally:
        sys.settrace(before)
    return reached


def agree(program, tokens) -> None:
    found = lit(program, tokens)
    lines = found.text.splitlines()
    inside = [any(first <= number <= last for first, last in found.tables) for number in range(len(lines) + 1)]
    said = {number: set(at) for number, at in found.lines.items() if not inside[number]
            and lines[number - 1].strip().startswith(("return", "raise"))}
    assert said == run_through(found.text, tokens)


@pytest.mark.parametrize("name", program_names())
def test_branches_of_shipped_programs_are_those_that_python_takes(name):
    program = open_program(name).prune(framed=True)
    for tokens in draw(program, 1 + (len(program.layers) < 3), seed=1):
        agree(program, tokens)


@settings(max_examples=15, deadline=None)
@given(programs, st.integers(0, 99))
def test_branches_of_random_programs_are_those_that_python_takes(program, seed):
    for tokens in draw(program, 2, seed=seed):
        agree(program, tokens)


def test_a_position_uses_one_score_row_of_every_table():
    program = open_program("hist").prune(framed=True)
    found = lit(program, list("abac"))
    for first, last in found.tables:
        rows = [at for line, at in found.lines.items() if first <= line <= last]
        assert set().union(*rows) == set(range(5)) or not rows  # a number's weights are no branch
    lines = found.text.splitlines()
    row = next(number for number, line in enumerate(lines, 1) if line.strip().startswith('"a":'))
    assert found.lines[row] == (1, 3)  # behind <s>


def test_words_that_it_does_not_take_are_refused():
    with pytest.raises(BadInput, match="z"):
        lit(open_program("hist"), ["z"])
