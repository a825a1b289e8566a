"""Checks of notebook 12."""

import torch
from lesson import check

import interp


@check
def fair_pairs(answer) -> None:
    """pairs that differ in one setting"""
    made_of = {"a": {"norm": "pre", "act": "gelu", "depth": "2"}, "b": {"norm": "pre", "act": "relu", "depth": "2"},
               "c": {"norm": "post", "act": "relu", "depth": "2"}, "d": {"norm": "post", "act": "gelu", "depth": "4"}}
    found = {frozenset(pair) for pair in answer(made_of)}
    right = {frozenset("ab"), frozenset("bc")}
    assert found == right, f"a, b differ in act and b, c in norm; you have {sorted(map(sorted, found))}"


@check
def mixer_sites(answer) -> None:
    """where the mixers of any architecture write"""
    cases = {
        "repeats-llama": ["blocks.0.hook_attn_out", "blocks.1.hook_attn_out"],
        "repeats-gla": ["blocks.0.hook_mixer_out", "blocks.1.hook_mixer_out"],
        "repeats-mamba2-hybrid": ["blocks.0.hook_mixer_out", "blocks.2.hook_attn_out", "blocks.4.hook_mixer_out"],
    }
    for name, right in cases.items():
        found = list(answer(interp.load(f"garden/{name}")))
        assert found == right, f"{name} has {right}, not {found}"


@check
def token_shift(answer) -> None:
    """a mixture of each token and the one before"""
    stream = torch.arange(1.0, 9.0).reshape(1, 4, 2)
    for mix in (0.75, 0.5, 1.0):
        found = answer(stream, mix)
        assert found.shape == stream.shape, f"the shape stays {list(stream.shape)}, not {list(found.shape)}"
        right = stream * mix
        right[:, 1:] += (1 - mix) * stream[:, :-1]
        assert torch.allclose(found, right), f"with mix {mix} it is {right.tolist()}, not {found.tolist()}"
