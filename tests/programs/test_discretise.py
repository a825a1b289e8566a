"""A model and the program read off it agree on every variable, at every position."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.programs.discretise import discretise
from interp.programs.evaluate import predict, values
from interp.programs.hooked import hook_program
from interp.programs.program import NOWHERE, Lookup, Numerical
from interp.programs.program_file import load_program, program_text, save_program
from interp.programs.sizes import ProgramSizes
from interp.results.errors import BadInput
from tests.programs.small_models import random_ids, random_model

HIST = ProgramSizes(d_vocab=8, n_ctx=8, d_vocab_out=7, cardinality=8)


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_model_and_program_agree_on_every_variable(seed):
    model = random_model(seed)
    s, program = model.sizes, discretise(model)
    ids, real = random_ids(s, 30, seed)
    mask = real.numpy()
    words = np.where(mask, ids.numpy(), 0)
    out, cache = hook_program(model).run_with_cache(ids, names=f"blocks.{s.n_layers - 1}.hook_resid_post")
    stream, found = next(iter(cache.values())).numpy(), values(program, words, mask)
    cat, num = s.names()
    assert set(found) == {*cat, *num}
    for i, name in enumerate(cat):
        assert (stream[..., i * s.cardinality : (i + 1) * s.cardinality].argmax(-1) == found[name])[mask].all()
    for i, name in enumerate(num):
        assert (stream[..., s.numbers_at + i] == found[name])[mask].all()
    same = predict(program, words, mask) == out.argmax(-1).numpy()
    assert same.all() if s.pooled else same[mask].all()


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_tables_hold_every_pair_that_occurs_and_only_marked_ones_are_empty(seed):
    model = random_model(seed)
    s, program = model.sizes, discretise(model)
    ids, real = random_ids(s, 60, seed)
    mask = real.numpy()
    found = values(program, np.where(mask, ids.numpy(), 0), mask)
    for step in program.operators:
        if isinstance(step, Lookup):
            assert (step.table[found[step.first][mask], found[step.second][mask]] != NOWHERE).all()
            if step.first == step.second:
                assert ((step.table != NOWHERE) <= np.eye(len(step.table), dtype=bool)).all()
        elif isinstance(step.out, Numerical):
            assert found[step.out.name].max() <= step.out.top


def test_a_table_is_the_mlp_pair_by_pair():
    model = random_model(5, HIST)
    program = discretise(model)
    mlps = model.blocks[0].mlps
    for prefix, part in (("mlp_0", mlps.categorical), ("num_mlp_0", mlps.numerical)):
        for i in range(2):
            step = program.writer(f"{prefix}_{i}")
            for a, b in np.argwhere(step.table != NOWHERE):
                x = torch.tensor([a, b]).float() if part.counts else torch.eye(8)[[a, b]].flatten()
                hidden = (part.w_in[i] @ x + part.b_in[i][:, 0]).relu()
                logits = part.w_out[i] @ hidden + part.b_out[i][:, 0]
                assert logits.argmax() == step.table[a, b]


def test_what_cannot_occur_is_marked():
    program = discretise(random_model(5, HIST))
    ones, tokens = program.variables["ones"], program.variables["tokens"]
    assert ones.top == 1 and tokens.size == 7  # without padding
    for step in program.operators:
        if isinstance(step, Lookup) and step.first == "ones":
            assert (step.table[0] == NOWHERE).all()  # ones is never 0


def test_converting_twice_gives_the_same_file_and_files_come_back(tmp_path):
    model = random_model(8)
    text = program_text(discretise(model))
    assert text == program_text(discretise(model))
    save_program(discretise(model), tmp_path / "p.json")
    assert program_text(load_program(tmp_path / "p.json")) == text


def test_names_that_do_not_fit_and_numbers_without_end_are_refused():
    with pytest.raises(BadInput, match="7 words and 7 labels; 8 and 7"):
        discretise(random_model(0, HIST), vocab="abcdefgh")
    deep = ProgramSizes(d_vocab=4, n_ctx=32, d_vocab_out=2, cardinality=32, n_layers=3, num_heads=4, cat_heads=0)
    model = random_model(0, deep)
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):  # every layer counts the counts of the one before
            if layer:
                block.heads.numerical.gate_v.logits.copy_(torch.eye(1 + 4 * layer)[-4:] * 9)
            block.mlps.numerical.gate.logits.copy_(torch.eye(1 + 4 * (layer + 1))[-4:] * 9)
    with pytest.raises(BadInput, match="counts of counts grow"):
        discretise(model)
