"""The published scales of initial weights."""

import pytest
import torch

from interp.programs.gates import Gates
from interp.programs.heads import Predicates
from interp.programs.hooked import build_program_model
from interp.programs.initial import published
from interp.programs.mlps import Mlps
from interp.programs.sizes import ProgramSizes

SIZES = ProgramSizes(d_vocab=16, n_ctx=16, d_vocab_out=9, cardinality=16, n_layers=2, cat_heads=40, num_heads=40,
                     cat_mlps=8, num_mlps=8)


def test_deviations_are_the_published_ones():
    model = published(build_program_model(SIZES, 0), 0)
    parts = list(model.modules())
    for gates in (part for part in parts if isinstance(part, Gates) and part.logits is not None):
        if gates.logits.numel() > 500:
            assert float(gates.logits.detach().std()) == pytest.approx(gates.variables**-0.5, rel=0.1)
    for predicates in (part for part in parts if isinstance(part, Predicates)):
        assert float(predicates.logits.detach().std()) == pytest.approx(1 / 4, rel=0.05)
    mlps = [part for part in parts if isinstance(part, Mlps)]
    assert len(mlps) == 4
    for part in mlps:
        assert float(part.w_in.detach().std()) == pytest.approx(64**-0.5, rel=0.1)
        assert float(part.w_out.detach().std()) == pytest.approx(16**-0.5, rel=0.1)
        assert not part.b_in.any() and not part.b_out.any()
    assert float(model.unembed.weight.detach().std()) == pytest.approx(1 / 3, rel=0.05)


def test_the_seed_alone_decides():
    before = torch.get_rng_state()
    one, two, other = (published(build_program_model(SIZES, seed), seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["unembed.weight"], other["unembed.weight"])
