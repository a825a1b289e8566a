import ast
import io
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.check_python import check_python, run_emitted
from interp.programs.inputs import draw, every, run_many
from interp.programs.program import NOWHERE, Categorical, Embedding, Lookup, Numerical, Ones, Program
from interp.programs.python import to_python
from interp.programs.python_text import Names, bracketed, quoted, words, wrapped
from interp.results.errors import BadInput, InterpError
from tests.programs import literal
from tests.programs.hand import either, histogram, induction
from tests.programs.random_programs import HOSTILE, programs, random_program


def _module(program: Program) -> dict:
    """The emitted file's names. It is our own text, and what it prints on the way fails the test."""
    names: dict = {"__name__": "emitted"}
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(to_python(program), "emitted", "exec"), names)
    assert printed.getvalue() == ""
    return names


@given(programs, st.integers(0, 1000), st.booleans())
def test_the_file_answers_as_the_literal_evaluator(program, seed, hostile):
    program = random_program(program.provenance["seed"], hostile=True) if hostile else program
    run = _module(program)["run"]
    for tokens in draw(program, 5, seed):
        assert run(list(tokens)) == literal.run(program, list(tokens))


@given(programs, st.integers(0, 1000))
def test_the_file_gives_every_variable(program, seed):
    variables = _module(program)["variables"]
    for tokens in draw(program, 2, seed):
        framed = [*([program.begin] if program.begin else []), *tokens, *([program.end] if program.end else [])]
        found, wanted = variables(list(tokens)), literal.variables(program, framed)
        assert list(found) == list(program.variables)
        assert {name: list(map(str, held)) for name, held in found.items()} == {
            name: list(map(str, held)) for name, held in wanted.items()
        }


@pytest.mark.parametrize("program", [histogram("ab", 5), induction(n_ctx=5), either(4), random_program(1, words=2)])
def test_the_file_agrees_on_all_inputs_in_a_process_of_its_own(program):
    assert check_python(program) == 0
    assert check_python(program.prune()) == 0


def test_hostile_symbols_stay_data():
    trap = "__import__('pathlib').Path('was_run').touch()"
    odd = ("'\"", '"""', "'''", "\\", "\n", "\r\u2028\x85", "\ud800", "{}", "%s", "é", "", " ", "two  words", trap,
           f'")\n{trap}\n("', "True", "0")
    symbols = Categorical(f"tokens\n{trap}", odd)
    program = Program(
        name=f'"""\n{trap}\n"""', vocab=odd, labels=odd, n_ctx=2, inputs=(Embedding(symbols, np.arange(len(odd))),),
        layers=((Lookup(Categorical("class", odd[::-1]), symbols.name, symbols.name,
                        np.where(np.eye(len(odd), dtype=bool), np.arange(len(odd)), NOWHERE)),),),
        readout={"class": np.eye(len(odd))}, bias=np.zeros(len(odd)),
    )
    assert program.run(list(odd[:2])) == list(odd[:2])
    assert check_python(program) == 0
    names = {node.id for node in ast.walk(ast.parse(to_python(program))) if isinstance(node, ast.Name)}
    assert not names & {"__import__", "pathlib"}


@pytest.mark.parametrize("seed", range(3))
def test_hostile_programs_run_in_a_process_of_their_own(seed):
    program = random_program(seed, hostile=True)
    assert set(program.vocab) & set(HOSTILE)
    assert check_python(program, draw(program, 50, seed)) == 0


def test_the_check_finds_a_file_that_is_wrong():
    program = histogram("ab", 4)
    wrong = to_python(program).replace("return tokens", 'return "a"')
    assert wrong != to_python(program)
    sequences = list(every(program))
    changed = sum("b" in tokens and tokens.count("a") != tokens.count("b") for tokens in sequences)
    assert check_python(program, text=wrong) == changed > 0


def test_a_file_that_prints_or_fails_is_an_error():
    for addition, reason in (("\nprint('hello')\n", "hello"), ("\nraise SystemError('no')\n", "no")):
        with pytest.raises(InterpError, match=f"failed or printed something: .*{reason}"):
            run_emitted(to_python(histogram()) + addition, [["a"]])


def test_too_many_sequences_to_try_all_is_an_error():
    with pytest.raises(BadInput, match="give a `length` or `sequences`"):
        check_python(random_program(0, words=4, n_ctx=30, layers=1, heads=1))


def test_the_same_program_gives_the_same_text():
    assert to_python(random_program(5)) == to_python(random_program(5)) == random_program(5).to_python()
    assert to_python(random_program(5)) != to_python(random_program(6))


def test_the_file_runs_from_any_folder_with_nothing_but_the_standard_library(tmp_path):
    (path := tmp_path / "program.py").write_text(to_python(histogram()))
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= set(sys.stdlib_module_names)
    command = [sys.executable, "-I", str(path), "a b a"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path.parent, check=True)
    assert done.stdout == "2 1 2\n"


def test_the_file_refuses_what_the_program_refuses():
    run = _module(histogram())["run"]
    for wrong, reason in (("ab", "list"), ([], "list"), (["a"] * 5, "5 tokens are more than the 4"), (["z"], "'z'")):
        with pytest.raises(ValueError, match=reason):
            run(wrong)
    known = _module(replace(histogram(), unknown="c"))["run"]
    assert known(["z", "c"]) == ["2", "2"]


def test_a_pair_that_cannot_occur_raises():
    value = _module(either())["or_2_value"]  # `or` itself is a word of Python
    assert value("x", "o") == "yes"
    with pytest.raises(ValueError, match="'<s>', 'x' cannot occur"):
        value("<s>", "x")


def test_predicates_read_as_a_person_would_write_them():
    text = to_python(induction())
    assert "    if positions == 0:\n        return None\n    return positions - 1\n" in text
    assert '    if tokens == "?":\n        return None\n    return tokens\n' in text


def test_equal_rows_of_a_table_are_merged_and_numbers_become_ranges():
    base = histogram("ab", 6)
    table = np.zeros((7, 3), dtype=int)
    table[2:5] = 1
    table[6, 2] = 2
    size = Lookup(Categorical("size", ("few", "some", "many")), "same", "tokens", table)
    program = replace(base, layers=(*base.layers, (size,)), readout={"size": np.eye(3, 6)}, bias=np.zeros(6))
    text = to_python(program)
    body = text[text.index("def size_value") :].split("\n\n\n")[0]
    assert body.splitlines()[2:] == [
        "    if same <= 1:", '        return "few"',
        "    if same <= 4:", '        return "some"',
        "    if same == 5:", '        return "few"',
        '    if tokens == "b":', '        return "many"',
        '    return "few"',
    ]
    assert check_python(program) == 0


def _large_vocabulary(n: int) -> Program:
    random = np.random.default_rng(0)
    vocab = tuple(f"word{i}" for i in range(n))
    topic = Categorical("topic", tuple(f"topic {i}" for i in range(5)))
    return Program(
        name="text", vocab=vocab, labels=("one", "two"), n_ctx=4, inputs=(
            Embedding(topic, random.integers(5, size=n)), Ones(Numerical("ones", 1))),
        layers=(), readout={"topic": random.normal(size=(5, 2))}, bias=np.zeros(2), pooled=True,
    )


def test_thousands_of_words_stay_compact():
    program = _large_vocabulary(5000)
    text = to_python(program)
    assert len(text.splitlines()) < 620 and max(map(len, text.splitlines())) <= 120
    sequences = draw(program, 50, 0)
    run = _module(program)["run"]
    assert [run(list(tokens)) for tokens in sequences] == run_many(program, sequences)


def test_the_file_is_as_the_formatter_would_write_it(tmp_path):
    for seed in range(40):
        (tmp_path / f"p{seed}.py").write_text(to_python(random_program(seed, hostile=seed % 2 == 0)))
    (tmp_path / "large.py").write_text(to_python(_large_vocabulary(300)))
    (tmp_path / "wide.py").write_text(to_python(random_program(0, words=8, n_ctx=40)))
    command = [sys.executable, "-m", "ruff", "format", "--line-length", "120", "--diff", "--isolated", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@given(st.text())
def test_a_quoted_text_reads_back_on_one_line(text):
    literal_text = quoted(text)
    assert ast.literal_eval(literal_text) == text
    assert len(literal_text.splitlines()) == 1


@given(st.lists(st.text(max_size=30), min_size=1, max_size=60))
def test_wrapped_words_read_back(texts):
    lines = words(texts, "x = (", "     ")
    held = ast.literal_eval("(" + " ".join(line.strip() for line in lines).removeprefix("x = ("). rstrip(",") + ")")
    assert (held.split(" ") if isinstance(held, str) else held) == texts
    listed = " ".join(wrapped(map(quoted, texts), "[", " ", "]"))
    assert ast.literal_eval(listed) == texts


def test_a_long_display_has_one_item_a_line():
    assert bracketed("f(", ["a", "b"], ")", 1) == ["    f(a, b)"]
    long = ["a" * 60, "b" * 60]
    assert bracketed("f(", long, ")", 1) == ["    f(", f"        {long[0]},", f"        {long[1]},", "    )"]


def test_names_are_legal_and_free():
    names = Names(["run"])
    assert [names.claim(name, "_key") for name in ("a.b", "a b", "run", "for", "list", "1", "é", "")] == [
        "a_b", "a_b_2", "run_2", "for_2", "list_2", "v_1", "variable", "variable_2"
    ]


@pytest.mark.parametrize("vocab", [("0", "1", "2"), ("7", "10", "12"), ("2", "1", "0"), ("01", "1", "1_0")])
def test_words_that_are_numbers_are_read_as_the_words_they_are(vocab):
    base = induction(letters="", digits="".join("abc"[: len(vocab) - 1]), n_ctx=4)
    tokens = Categorical("tokens", vocab)
    before = replace(base.layers[0][0], out=Categorical("before", vocab))
    answer = replace(base.layers[1][0], out=Categorical("answer", vocab))
    program = replace(
        base, vocab=vocab, labels=vocab, begin=None, readout={"answer": np.eye(3)},
        inputs=(replace(base.inputs[0], out=tokens), base.inputs[1]), layers=((before,), (answer,)),
    )
    assert program.run([vocab[1], vocab[2], vocab[1]])[2] == vocab[2]
    assert check_python(program) == 0 and check_python(program.prune()) == 0
