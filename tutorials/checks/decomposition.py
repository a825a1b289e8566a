"""Checks of notebook 06."""

import numpy as np
import torch
from lesson import check


@check
def relevant_of_linear(answer) -> None:
    """the relevant part of a linear map with its share of the bias"""
    weight, bias, x = torch.tensor([[1.0, -1.0], [2.0, 1.0]]), torch.tensor([0.0, -2.0]), torch.tensor([3.0, 1.0])
    for k, right in ((0, [3.0, 6 - 2 * 6 / 7]), (1, [-1.0, 1 - 2 / 7])):
        found = torch.as_tensor(answer(weight, bias, x, k))
        assert torch.allclose(found, torch.tensor(right), atol=1e-5), f"input {k}: it is {right}, not {found.tolist()}"
    both = sum(torch.as_tensor(answer(weight, bias, x, k)) for k in (0, 1))
    assert torch.allclose(both, weight @ x + bias, atol=1e-5), "with two inputs the two parts add up to the value"
    found = torch.as_tensor(answer(torch.zeros(1, 2), torch.ones(1), x, 0))
    assert torch.equal(found, torch.zeros(1)), f"where both parts are 0 nothing is relevant, not {found.tolist()}"


@check
def parts_that_add_up(answer) -> None:
    """parts that add up and mean nothing"""
    for n in (1, 3):
        total = torch.randn(2, 4, generator=torch.Generator().manual_seed(n))
        parts = torch.as_tensor(answer(total, n))
        assert parts.shape == (n, 2, 4), f"{n} parts of the total's shape, not {list(parts.shape)}"
        assert torch.allclose(parts.sum(0), total, atol=1e-5), "they must add up to the total"


@check
def worst_miss(answer) -> None:
    """the source with the largest error"""
    values, exact = np.array([1.0, 0.3, -2.0, 0.0]), np.array([1.5, 0.1, 1.0, 0.2])
    i, factor = answer(values, exact)
    assert i == 2, f"the largest error is 3, at index 2, not at {i}"
    assert abs(factor - 3) < 1e-9, f"an error of 3 where 1 is right is 3 times, not {factor}"
    i, factor = answer(np.array([0.5, 1.0]), np.array([0.0, 1.0]))
    assert i == 0 and factor == float("inf"), f"an error where the exact effect is 0 is infinite, not {factor}"
