"""Checks of notebook 01."""

import torch
from lesson import check

import interp


@check
def count_heads(answer) -> None:
    """heads are counted from the sites, for any model"""
    for name, right in (("garden/induction-2l", 8), ("garden/induction-1l", 4), ("garden/digits-vit", None)):
        model = interp.load(name)
        right = right or sum(site.heads for site in model.sites("blocks.*.attn.hook_z"))
        found = answer(model)
        assert found == right, f"{name} has {right} heads, not {found}; add up .heads of every hook_z"


@check
def share_back(answer) -> None:
    """the share of attention a given number of positions back"""
    looks_back = torch.zeros(6, 6)
    looks_back[0, 0] = 1
    looks_back[torch.arange(1, 6), torch.arange(5)] = 1
    found = answer(looks_back, 1)
    assert abs(found - 1) < 1e-6, f"a head that always looks one back has share 1 over queries 1 to 5, not {found:.3g}"
    even = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    right = sum(1 / (query + 1) for query in range(2, 6)) / 4
    found = answer(even, 2)
    assert abs(found - right) < 1e-6, f"an even pattern of 6 positions has {right:.4f} two back, not {found:.4g}"


@check
def without_heads(answer, model) -> None:
    """several heads taken away at once"""
    rates = [answer(model, list(range(removed))) for removed in range(5)]
    assert rates[0] > 0.99, f"with no head removed all is right, not {rates[0]:.3f}"
    assert 0.5 < rates[1] < 0.65, f"without head 0 of layer 1 it is 0.57, not {rates[1]:.3f}"
    assert rates[4] < 0.05, f"without all four nothing is left, but you have {rates[4]:.3f}: are all removed at once?"
    assert rates[1] > rates[3], "removing three should cost more than removing one"
