"""Which lines of a program's Python file one sequence uses, and at which positions: its branches, and its score rows.

The file is not run. It is read as a syntax tree, and the tests of its branches (`==`, `<=`, `>=`, `in`) are decided on
the values that the tables give.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.programs.evaluate import encode, values
from interp.programs.inputs import Tokens
from interp.programs.program import Operator, Program
from interp.programs.python_text import value

_COMPARE = {
    ast.Eq: lambda a, b: a == b, ast.LtE: lambda a, b: a <= b, ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
}


@dataclass(frozen=True)
class Lit:
    """`text` is the file; `lines` {line number, from 1: positions that use it}, of the framed sequence; `tables` the
    (first, last) lines of every score table, used or not."""

    text: str
    lines: dict[int, tuple[int, ...]]
    tables: tuple[tuple[int, int], ...]


def lit(program: Program, tokens: Tokens) -> Lit:
    """The lines of `program.to_python()` that `tokens` use. Raises BadInput for tokens that it does not take."""
    text = program.to_python()
    tree = ast.parse(text)
    found = values(program, encode(program, list(tokens))[None])
    python = _python_names(tree)
    held = {name: [ast.literal_eval(value(program.variables[name], int(i))) for i in np.ravel(found[name][0])]
            for name in program.variables}
    used: dict[int, set[int]] = defaultdict(set)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for step in program.operators:
        function = _function(functions, python[step.out.name], step)
        reads = {python[name]: held[name] for name in step.reads}
        for pos in range(len(held[step.out.name])):
            for line in _walk(function.body[1:], {name: row[pos] for name, row in reads.items()}):
                used[line].add(pos)
    tables = list(_tables(tree))
    for name, node in tables:
        if isinstance(node, ast.Dict):
            for key, row in zip(node.keys, node.values):
                at = [pos for pos, own in enumerate(held[name]) if own == ast.literal_eval(key)]
                for line in range(key.lineno, row.end_lineno + 1) if at else ():
                    used[line] |= set(at)
    return Lit(text, {line: tuple(sorted(at)) for line, at in sorted(used.items())},
               tuple((node.lineno, node.end_lineno) for _, node in tables))


def _python_names(tree: ast.Module) -> dict[str, str]:
    """{variable: its name in the file}, from what `variables` returns."""
    body = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "variables").body
    made = body[-1].value
    return {ast.literal_eval(key): own.id for key, own in zip(made.keys, made.values)}


def _function(functions: dict[str, ast.FunctionDef], name: str, step: Operator) -> ast.FunctionDef:
    return functions.get(f"{name}_key") or functions[f"{name}_value"]


def _walk(body: list[ast.stmt], held: dict[str, Any]) -> Iterator[int]:
    """The lines from the first statement to the return or raise: of every `if` only one that holds."""
    for node in body:
        if not isinstance(node, ast.If):
            yield from range(node.lineno, node.end_lineno + 1)
            return
        if _holds(node.test, held):
            yield from range(node.lineno, node.body[0].lineno)
            yield from _walk(node.body, held)
            return


def _holds(test: ast.expr, held: dict[str, Any]) -> bool:
    """Whether a comparison, chained or not, holds."""
    terms = [held[term.id] if isinstance(term, ast.Name) else ast.literal_eval(term)
             for term in (test.left, *test.comparators)]
    return all(_COMPARE[type(op)](a, b) for op, a, b in zip(test.ops, terms, terms[1:]))


def _tables(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """(variable, its scores) of the file."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "SCORES":
            for key, table in zip(node.value.keys, node.value.values):
                yield ast.literal_eval(key), table
