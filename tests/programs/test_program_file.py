import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.programs.inputs import draw, run_many
from interp.programs.program import Program
from interp.programs.program_file import load_program, program_text, save_program
from interp.results.errors import BadFile
from tests.programs.hand import either, histogram, induction
from tests.programs.random_programs import programs, random_program


@given(programs, st.booleans())
def test_a_program_that_is_saved_and_loaded_is_the_same(tmp_path_factory, program, hostile):
    program = random_program(program.provenance["seed"], hostile=True) if hostile else program
    path = save_program(program, tmp_path_factory.mktemp("p") / "program.json")
    loaded = load_program(path)
    assert program_text(loaded) == program_text(program)
    sequences = draw(program, 5, 0)
    assert run_many(loaded, sequences) == run_many(program, sequences)


def test_save_and_load_are_methods_too(tmp_path):
    program = either()
    assert Program.load(program.save(tmp_path / "either.json")).run(["x", "o"]) == ["yes", "yes"]


def _edited(program: Program, *path, value) -> dict:
    data = json.loads(program_text(program))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


DAMAGED = {
    "schema interp.program/2": _edited(histogram(), "schema", value="interp.program/2"),
    "not a file of this kind": _edited(histogram(), "schema", value="interp.circuit/1"),
    "fields missing or unknown: extra": _edited(histogram(), "extra", value=1),
    '"n_ctx" is True': _edited(histogram(), "n_ctx", value=True),
    '"n_ctx" is 5.0': _edited(histogram(), "n_ctx", value=5.0),
    '"begin" is 3': _edited(histogram(), "begin", value=3),
    "holds 1, which is no text": _edited(histogram(), "vocab", value=["<s>", 1, "b", "c"]),
    "is a 'Loader'": _edited(histogram(), "inputs", 0, "kind", value="Loader"),
    "the codes of tokens holds something else than whole": _edited(histogram(), "inputs", 0, "codes", 1, value=1.5),
    "the predicate of same holds something else": _edited(histogram(), "layers", 0, 0, "predicate", 1, value=True),
    "whole numbers from -1 to 3": _edited(histogram(), "layers", 0, 0, "predicate", 1, value=4),
    "has 9 entries, 3 are needed": _edited(either(), "layers", 0, 1, "table", 0, value=[[0, 9]]),
    "has 9000000000000 entries": _edited(either(), "layers", 0, 1, "table", 0, value=[[0, 9 * 10**12]]),
    "not a whole number": _edited(either(), "layers", 0, 1, "table", 0, value=[[0, -3]]),
    "unexpected keyword": _edited(histogram(), "layers", 0, 0, "more", value=1),
    "'codes' is missing": _edited(histogram(), "inputs", 0, value={"kind": "Embedding", "name": "t", "symbols": ["a"]}),
    "inputs come first": _edited(histogram(), "layers", 0, 0, value={"kind": "Ones", "name": "one", "top": 1}),
    "nothing before it writes": _edited(induction(), "layers", 0, 0, "query", value="later"),
    "bias holds something else than numbers": _edited(histogram(), "bias", value=["1"] * 5),
    "the readout of same has shape": _edited(histogram(), "readout", "same", value=[[1.0]]),
    "not a program that can run": _edited(histogram(), "readout", value=[]),
    "top of same": _edited(histogram(), "layers", 0, 0, "top", value="many"),
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path, reason):
    (path := tmp_path / "program.json").write_text(json.dumps(DAMAGED[reason]))
    with pytest.raises(BadFile) as error:
        load_program(path)
    assert reason in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "interp.program/1"}', "\x00", "{" * 10**5])
def test_what_is_no_program_at_all_is_refused(tmp_path, text):
    (path := tmp_path / "program.json").write_text(text)
    with pytest.raises(BadFile):
        load_program(path)
    with pytest.raises(BadFile, match="no such file"):
        load_program(tmp_path / "absent.json")


@given(st.integers(0, 10**6))
def test_a_file_with_one_value_changed_is_refused_or_runs(tmp_path_factory, seed):
    random = np.random.default_rng(seed)
    data = json.loads(program_text(random_program(seed % 50)))
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[random.integers(len(keys))]
        if not isinstance(place[key], dict | list) or not place[key] or random.random() < 0.15:
            break
        place = place[key]
    others = [None, -1, 0, 1, 7, 2.5, "", "tokens", [], {}, [[0]], True, 10**30, "0"]
    place[key] = others[random.integers(len(others))]
    path = tmp_path_factory.mktemp("p") / "program.json"
    path.write_text(json.dumps(data))
    try:
        program = load_program(path)
    except BadFile:
        return
    assert isinstance(program_text(program), str)
    program.predict(np.zeros((1, 1), dtype=int))
