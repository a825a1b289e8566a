"""Checks of notebook 13."""

import torch
from lesson import check


@check
def waves(answer) -> None:
    """cosine and sine of one frequency"""
    for f in (1, 5, 14):
        found = answer(f)
        assert found.shape == (2, 29), f"two waves over 29 numbers, [2, 29], not {list(found.shape)}"
        assert torch.allclose(found @ found.T, torch.eye(2), atol=1e-4), "each of length 1, at right angles"
        cosine = torch.cos(2 * torch.pi * f * torch.arange(29) / 29) / (29 / 2) ** 0.5
        assert torch.allclose(found[0], cosine, atol=1e-4), f"the first is the cosine of frequency {f}"
        assert found[1, 1] > 0, "the second is the sine, which begins upwards"
    assert (answer(3) @ answer(4).T).abs().max() < 1e-4, "different frequencies are at right angles"


@check
def keep_only(answer) -> None:
    """the table with only some frequencies"""
    number = torch.arange(29)

    def wave(f: int) -> torch.Tensor:
        return torch.cos(2 * torch.pi * f * number / 29)

    table = 5 + wave(2)[:, None] * torch.tensor([1.0, 0.0]) + wave(7)[:, None] * torch.tensor([0.0, 3.0])
    both, one = answer(table, [2, 7]), answer(table, [7])
    assert both.shape == table.shape, f"a table of the same shape, not {list(both.shape)}"
    assert torch.allclose(both, table, atol=1e-3), "a table of frequencies 2 and 7 is the same with 2 and 7 kept"
    assert (one[:, 0] - 5).abs().max() < 1e-3, "without frequency 2 its entry is the mean: keep the mean"
    assert torch.allclose(one[:, 1], table[:, 1], atol=1e-3), "what is kept stays as it was"


@check
def predicted_mistakes(answer) -> None:
    """the distances with the smallest margins"""
    heights = torch.zeros(14)
    heights[[0, 3]] = torch.tensor([1.0, 2.0])
    found = list(answer(heights, 4))
    assert found == [1, 2], f"with frequency 1 alone the neighbours are nearest: [1, 2], not {found}"
    found = list(answer(heights, 1))
    assert found == [7, 14], f"with frequency 4 alone, 7 is at 28 = -1 and 14 at 56 = -2 of 29: [7, 14], not {found}"
    assert float(heights[3]) == 2.0, "leave the heights that you are given as they are"
