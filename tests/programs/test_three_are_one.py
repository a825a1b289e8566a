"""The promise of the folder: a model, its program and the emitted Python file are one function."""

import itertools

import numpy as np
import pytest
import torch

from interp.programs.check_python import run_emitted
from interp.programs.discretise import discretise
from interp.programs.inputs import run_many
from interp.programs.model import TransformerProgramModel
from interp.programs.sizes import ProgramSizes
from tests.programs.small_models import random_model, random_sizes

MOST = 400

FIXED = {
    "one head a layer, causal, three layers": dict(n_layers=3, cat_heads=1, num_heads=0, cat_mlps=0, num_mlps=0,
                                                   causal=True),
    "one counting head a layer": dict(n_layers=2, cat_heads=0, num_heads=1, cat_mlps=0, num_mlps=1),
    "three layers of everything": dict(n_layers=3, cat_heads=2, num_heads=2, cat_mlps=1, num_mlps=1, d_mlp=16),
    "causal, three layers of everything": dict(n_layers=3, cat_heads=2, num_heads=1, cat_mlps=1, num_mlps=1, d_mlp=16,
                                               causal=True),
}
MODELS = {name: ProgramSizes(d_vocab=5, n_ctx=5, d_vocab_out=4, cardinality=5, **sizes)
          for name, sizes in FIXED.items()}
MODELS |= {f"random sizes {seed}": random_sizes(seed) for seed in range(1_000, 1_046)}


def answers(model: TransformerProgramModel, rows: list[tuple[int, ...]]) -> list[list[int]]:
    """The model's own, one row at a time padded to full length, as text labels."""
    sizes = model.sizes
    ids = torch.tensor([[*row, *[sizes.pad] * (sizes.n_ctx - len(row))] for row in rows])
    with torch.no_grad():
        best = model(ids).argmax(-1)
    return [[str(int(row))] if sizes.pooled else list(map(str, row[:n].tolist()))
            for row, n in zip(best, map(len, rows))]


@pytest.mark.parametrize("name", MODELS)
def test_model_program_and_file_answer_alike(name):
    """On all inputs where they are at most 400, else on 400 random ones of every length."""
    sizes = MODELS[name]
    model = random_model(sum(map(ord, name)), sizes)
    count = sum(sizes.pad**n for n in range(1, sizes.n_ctx + 1))
    if count <= MOST:
        rows = [row for n in range(1, sizes.n_ctx + 1) for row in itertools.product(range(sizes.pad), repeat=n)]
    else:
        draw = np.random.default_rng(0)
        rows = [tuple(draw.integers(0, sizes.pad, 1 + i % sizes.n_ctx).tolist()) for i in range(MOST)]
    program = discretise(model)
    words = [list(map(str, row)) for row in rows]
    wanted = answers(model, rows)
    assert run_many(program, words) == wanted
    assert run_emitted(program.to_python(), words) == wanted
    pruned = program.prune()
    assert run_many(pruned, words) == wanted and run_emitted(pruned.to_python(), words) == wanted


def test_fifty_models_are_compared():
    assert len(MODELS) == 50
    assert sum(sizes.causal for sizes in MODELS.values()) > 10
    assert sum(sizes.n_layers == 3 for sizes in MODELS.values()) > 10
    assert len({tuple(vars(sizes).values()) for sizes in MODELS.values()}) == 50
