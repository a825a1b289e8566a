"""The trained programs that ship: what their records say, measured again; model and program are one function."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import interp.garden
from interp.programs.program_file import load_program, program_text
from interp.programs.train import predict
from interp.programs.trained_files import METRICS, PROGRAM, load_trained
from interp.tasks.sequences import dataset

SHIPPED = sorted(path.parent for path in (Path(interp.garden.__file__).parent / "programs").glob(f"*/{PROGRAM}"))
LEAST = {"hist": 0.995, "sort": 0.99, "induction": 1.0}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_program_reaches_its_record(folder):
    record = json.loads((folder / METRICS).read_text())
    data = dataset(record["task"], **record["sizes"], seed=record["data_seed"])
    program, test = load_program(folder / PROGRAM), data.test
    words, mask = torch.where(test.mask, test.tokens, 0).numpy(), test.mask.numpy()
    answers = program.predict(words, mask)
    found = {name: score.to_dict() for name, score in data.score(torch.from_numpy(answers)).items()}
    assert {name: score["value"] for name, score in found.items()} == pytest.approx(
        {name: score["value"] for name, score in record["scores"].items()})
    assert found["accuracy"]["value"] >= LEAST.get(record["task"], 0)
    assert f"seed {record['seed']}" in (folder / "README.md").read_text()
    if (folder / "model.safetensors").exists():
        trained = load_trained(folder)
        assert program_text(trained.program) == (folder / PROGRAM).read_text()
        same = predict(trained.model, test).numpy() == answers
        assert same.all() if data.pooled else same[mask].all()


def test_induction_is_an_induction_program():
    """Head 0 finds the previous position (of position p: p - 1) and takes its token; head 1 finds the place where
    head 0 took the token that stands here, and takes the token there."""
    folder = next((f for f in SHIPPED if f.name == "induction"), None)
    assert folder is not None
    program = load_program(folder / PROGRAM)
    first, second = program.writer("head_0_0"), program.writer("head_1_0")
    assert (first.query, first.key, first.value) == ("positions", "positions", "tokens")
    right = first.predicate[2:] == np.arange(1, len(first.predicate) - 1)
    assert right.mean() >= 0.7
    assert (second.query, second.key, second.value) == ("tokens", "head_0_0", "tokens")
    letters = [i for i, word in enumerate(program.vocab) if word.isalpha()]
    assert (second.predicate[letters] == letters).all()
