"""Checks of notebook 11."""

import numpy as np
import torch
from lesson import check


@check
def mean_of_the_rest(answer) -> None:
    """the mean over tokens that are no giants"""
    norms, values = torch.tensor([100.0, 1.0, 2.0, 3.0, 2.0]), torch.tensor([50.0, 0.1, 0.2, 0.3, 0.6])
    found = answer(norms, values)
    assert abs(found - 0.3) < 1e-6, f"without the first token, a giant, the mean is 0.3, not {found:.3g}"
    found = answer(torch.tensor([1.0, 2.0, 10.0]), torch.tensor([1.0, 2.0, 6.0]))
    assert abs(found - 3) < 1e-6, f"nobody has 8 times the median of 1, 2, 10: the mean is 3, not {found:.3g}"


@check
def half_done(answer) -> None:
    """how many blocks hold half of all effects"""
    for effects, right in (([1.0, 1.0, 1.0, 1.0], 2), ([5.0, 1.0, 1.0, 1.0], 1), ([0.1, 0.1, 0.1, 1.0], 4),
                           ([1.0, 1.0, 1.0], 2)):
        found = answer(effects)
        assert found == right, f"of {effects} the first {right} hold half, not the first {found}"


@check
def cut(answer) -> None:
    """the best cut and the share of distance across it"""
    same = np.ones((6, 6)) - np.eye(6)
    place, share = answer(same)
    assert place == 3 and abs(share - 0.6) < 1e-6, f"six alike: place 3, 9 of 15 across; you have {place}, {share:.3f}"
    label = np.array([0, 0, 1, 1, 1, 1, 1])
    planted = np.where(label[:, None] == label[None], 0.1, 1.0)
    np.fill_diagonal(planted, 0)
    place, share = answer(planted)
    assert place == 2, f"two groups of 2 and 5 have their border at 2, not {place}"
    assert abs(share - 10 / 11.1) < 1e-6, f"10 of 11.1 lies across it, 0.901, not {share:.3f}"
