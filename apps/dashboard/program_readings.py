"""What Programs shows: trained programs on one sequence, where they are wrong, and compiled ones. Tables and text."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import pandas as pd
import streamlit as st

from apps.dashboard import folders
from interp.results.errors import BadFile, BadInput

ORACLES = {"hist": "hist", "sort": "sort", "reverse": "reverse", "dyck2": "dyck", "induction": "induction"}
"""Program -> module of `interp.tasks.sequences` that knows the right answers."""
FIRST = {"hist": "a b a c a", "sort": "3 1 2 1", "reverse": "a b c d", "dyck2": "( { } ) )", "induction": "a 1 b 0 a 1"}
"""What each is shown on before anything is typed."""
SHORT, GUIDED = 12_000, 3_000
"""Sequences that are tried: all short ones, as far as so many reach; then those that a search led by coverage picks."""


def names() -> list[str]:
    """Programs that ship, then those trained into our run folders."""
    from interp.garden.shipped_programs import program_names

    here = folders.root()
    return [*program_names(), *sorted(path.parent.name for path in here.glob("*/program.json"))]


@st.cache_resource(max_entries=16, show_spinner=False)
def _opened(name: str, changed: float) -> tuple[Any, Any]:
    from interp.garden.shipped_programs import open_program, program_names

    given = open_program(name if name in program_names() else str(_path(name)))
    return given, given.prune(framed=True)


def opened(name: str) -> tuple[Any, Any]:
    """(program, pruned program) of a name. Raises BadInput, naming what there is, and BadFile."""
    from interp.garden.shipped_programs import program_names
    from interp.results.errors import nearest

    if name in program_names():
        return _opened(name, 0.0)
    path = _path(name)
    if not path.is_file():
        raise BadInput(f"no program {name!r}.{nearest(name, names())} There are: {', '.join(names())}")
    return _opened(name, path.stat().st_mtime)


def _path(name: str) -> Any:
    """The program of a run folder, which is never outside of ours. Raises BadFile."""
    path = (folders.root() / name / "program.json").resolve()
    if not path.is_relative_to(folders.root().resolve()):
        raise BadFile(f"{name!r} leads out of the run folders")
    return path


@dataclass(frozen=True)
class Answered:
    """One sequence: its `words` and `answers` (one, where the program is `pooled`), what is right where that is known,
    and the framed positions' words; `shift` is the framed position of the first word."""

    words: list[str]
    answers: list[str]
    right: list[str | None] | None
    framed: list[str]
    shift: int
    pooled: bool


@st.cache_data(max_entries=64, show_spinner=False)
def answered(name: str, text: str) -> Answered:
    """What a program says to a sequence. Raises BadInput for words that it does not take."""
    program, _ = opened(name)
    words = text.split()
    begin, end = [[word] if word is not None else [] for word in (program.begin, program.end)]
    return Answered(words, program.run(words), _right(name, words), [*begin, *words, *end], len(begin), program.pooled)


def _right(name: str, words: list[str]) -> list[str | None] | None:
    if name not in ORACLES:
        return None
    return import_module(f"interp.tasks.sequences.{ORACLES[name]}").oracle(tuple(words))


@st.cache_data(max_entries=64, show_spinner=False)
def lit(name: str, text: str) -> Any:
    """The `interp.programs.debug.Lit` of the pruned program on a sequence."""
    from interp.programs.debug import lit as found

    return found(opened(name)[1], text.split())


@st.cache_data(max_entries=64, show_spinner=False)
def explained(name: str, text: str, pos: int) -> tuple[pd.DataFrame, str]:
    """(what each variable adds to the margin of the answer at `pos`, the whole explanation as text)."""
    from interp.programs.debug import explain

    program = opened(name)[1]
    why = explain(program, text.split(), None if program.pooled else pos)
    rows = [{"adds": added, "variable": trace.variable, "value": trace.value, "because": trace.because}
            for added, trace in why.parts]
    frame = pd.DataFrame([*rows, {"adds": why.bias, "variable": "bias", "value": "", "because": ""}])
    frame.attrs["unit"] = "score"
    return frame[frame["adds"] != 0].reset_index(drop=True), str(why)


@st.cache_data(max_entries=32, show_spinner="Trying sequences, the short ones first ...")
def searched(name: str, wanted: str, label: str) -> Any:
    """The `interp.programs.debug.Search` for a sequence on which the program is wrong ("right"), or says `label`."""
    from interp.programs.debug import counter_example
    from interp.programs.inputs import how_many, longest

    program = opened(name)[0]
    if wanted == "right" and name not in ORACLES:
        raise BadInput(f"the right answers of {name!r} are not known here; ask whether it ever answers a label")

    def holds(tokens: list[str], answers: list[str]) -> bool:
        if wanted == "never":
            return label not in answers
        return all(right is None or right == said for right, said in zip(_right(name, tokens), answers))

    short = max((n for n in range(1, longest(program) + 1) if how_many(program, n) <= SHORT), default=1)
    found = counter_example(program, holds, length=short, most=SHORT)
    if found.found is not None or short == longest(program):
        return found
    more = counter_example(program, holds, most=GUIDED)
    shortest = more.found is not None and len(more.found) == short + 1
    return replace(more, tried=found.tried + more.tried, shortest=shortest)


@st.cache_data(max_entries=32, show_spinner="Counting which branches are used ...")
def covered(name: str, n: int, seed: int) -> pd.DataFrame:
    """Every branch that an input can reach with how many positions of `n` random sequences used it."""
    from interp.programs.debug import coverage
    from interp.programs.inputs import draw

    program = opened(name)[1]
    frame = coverage(program, draw(program, n, seed)).frame()
    return frame.assign(example=[" ".join(words) if isinstance(words, list) else "" for words in frame["example"]])


@st.cache_resource(max_entries=16, show_spinner="Compiling ...")
def compiled(name: str, vocab: str, length: int) -> Any:
    """A program of the library as a `Compiled` model, checked. Raises BadInput for what cannot be compiled."""
    from interp.programs import compile as make

    return make(name, length=length, **({"vocab": typed(vocab)} if vocab else {}))


def typed(vocab: str) -> list[Any]:
    """Words, or letters where no blank parts them; whole numbers where all are."""
    words: list[Any] = vocab.split() if " " in vocab else list(vocab)
    return [int(word) for word in words] if all(word.isdigit() for word in words) else words


def circuit(made: Any) -> list[Any]:
    """The edges of what a compiled model computes, all as strong."""
    return [edge._replace(score=1.0) for edge in made.truth.edges]


def on(made: Any, text: str) -> pd.DataFrame:
    """Every variable of a compiled program at every word, and what the model answers. Raises BadInput."""
    known = {str(value): value for value in made.graph.vocab}
    words = [known.get(word, word) for word in text.split()]
    answers = made.run(words)
    rows = {label: row[0] for label, row in made.values([words]).items()} | {"answer of the model": answers}
    return pd.DataFrame([{"variable": label, **{f"{i}: {word}": str(value) for i, (word, value) in
                         enumerate(zip(words, row))}} for label, row in rows.items()])
