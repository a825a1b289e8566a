from dataclasses import replace

import numpy as np
import pytest

from interp.programs.program import Categorical, CountingHead, Embedding, Lookup, Numerical, Ones, Program
from interp.results.errors import BadInput
from tests.programs.hand import either, histogram, induction


def test_hand_made_programs_answer_as_known():
    assert histogram().run(list("abac")) == ["2", "1", "2", "1"]
    assert histogram().run(["b"]) == ["1"]
    assert induction().run(list("a1a")) == ["?", "?", "1"]
    assert induction().run(list("ab1ab")) == ["?", "?", "?", "b", "1"]
    assert either().run(list("ox")) == ["no", "yes"] and either().run(list("xo")) == ["yes", "yes"]


def test_run_takes_a_list_of_known_tokens_that_fits():
    with pytest.raises(BadInput, match="does not know the token 'd'.*It knows: <s>, a, b, c"):
        histogram().run(["a", "d"])
    with pytest.raises(BadInput, match="5 tokens were given; histogram takes up to 4"):
        histogram().run(list("aaaaa"))
    for wrong in ("abc", []):
        with pytest.raises(BadInput, match="no sequence of tokens"):
            histogram().run(wrong)


def test_unknown_words_become_the_unknown_word_where_there_is_one():
    program = replace(histogram(), unknown="c")
    assert program.run(["a", "zebra", "c"]) == ["1", "2", "2"]


def test_variables_and_writers_by_name():
    program = histogram()
    assert list(program.variables) == ["tokens", "ones", "same"]
    assert isinstance(program.writer("same"), CountingHead)
    with pytest.raises(BadInput, match='no variable \'sane\'. Did you mean "same"'):
        program.writer("sane")


def _head(program: Program, **changes) -> Program:
    head = replace(program.layers[0][0], **changes)
    return replace(program, layers=((head,), *program.layers[1:]))


BROKEN = {
    "reads 'late', which nothing before it writes": lambda p: _head(p, query="late"),
    "must be categorical": lambda p: _head(p, key="ones"),
    "the predicate of same has shape": lambda p: _head(p, predicate=np.zeros(3, dtype=int)),
    "whole numbers from -1 to 3": lambda p: _head(p, predicate=np.array([0, 1, 2, 4])),
    "whole numbers from -1": lambda p: _head(p, predicate=np.array([0.0, 1, 2, 3])),
    "which is no number": lambda p: _head(p, value="tokens"),
    "can reach 5, above its top of 4": lambda p: _head(p, out=Numerical("same", 4)),
    "two steps of histogram write 'ones'": lambda p: replace(p, inputs=(*p.inputs, p.inputs[1])),
    "readout of histogram reads 'other'": lambda p: replace(p, readout={"other": np.zeros((1, 5))}),
    "the readout of same has shape": lambda p: replace(p, readout={"same": np.zeros((2, 5))}),
    "holds NaN or infinity": lambda p: replace(p, bias=np.full(5, np.nan)),
    "the bias has shape": lambda p: replace(p, bias=np.zeros(4)),
    "nothing is left": lambda p: replace(p, never=p.labels),
    "begin of histogram is 'z'": lambda p: replace(p, begin="z"),
    "'c' is there twice": lambda p: replace(p, vocab=("<s>", "a", "c", "c")),
    "'0' is there twice": lambda p: replace(p, labels=("0",) * 5),
    "the labels of histogram: there are none": lambda p: replace(p, labels=(), bias=np.zeros(0)),
    "none is too few": lambda p: replace(p, n_ctx=0),
    "the symbols of tokens: 'a' is there twice": lambda p: replace(
        p, inputs=(Embedding(Categorical("tokens", ("a", "a", "b", "c")), np.arange(4)), p.inputs[1])
    ),
    "holds ones and its top is 0": lambda p: replace(p, inputs=(p.inputs[0], Ones(Numerical("ones", 0)))),
    "the codes of tokens has shape": lambda p: replace(
        p, inputs=(replace(p.inputs[0], codes=np.arange(3)), p.inputs[1])
    ),
    "the table of out has shape": lambda p: replace(p, layers=(
        *p.layers, (Lookup(Categorical("out", ("x",)), "same", "tokens", np.zeros((4, 4), dtype=int)),)
    )),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_program_that_could_not_run_is_refused(reason):
    with pytest.raises(BadInput, match=reason):
        BROKEN[reason](histogram())


def test_a_copying_head_keeps_the_symbols_of_what_it_copies():
    with pytest.raises(BadInput, match="copies 'tokens', whose symbols are not its own"):
        _head(induction(), out=Categorical("before", tuple("vwxyz")))


def test_positions_are_as_many_as_the_program_has():
    with pytest.raises(BadInput, match="'positions' has 6 values and the program 7 positions"):
        replace(induction(), n_ctx=7)
