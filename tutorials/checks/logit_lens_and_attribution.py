"""Checks of notebook 04."""

import torch
from lesson import check


@check
def settles(answer) -> None:
    """the depth from which the first choice stays"""
    cases = (([0, 0, 1, 0, 1, 1], 4), ([0, 0, 0, 1], 3), ([1, 1, 1], 0), ([1, 0, 1], 2))
    for agrees, right in cases:
        found = answer(torch.tensor(agrees, dtype=torch.float))
        assert found == right, f"{agrees} is settled from depth {right} on, not {found}"


@check
def share(answer) -> None:
    """what one writer adds to a difference of two logits"""
    draw = torch.Generator().manual_seed(0)
    write, weight, right, wrong = torch.randn(4, 8, generator=draw)
    for scale in (1.0, 2.5):
        expected = sum(write[i] * weight[i] / scale * (right[i] - wrong[i]) for i in range(8)).item()
        found = answer(write, torch.tensor([scale]), weight, right, wrong)
        assert abs(found - expected) < 1e-4, f"with scale {scale} the share is {expected:.3f}, not {found:.3f}"


@check
def steps_in(answer) -> None:
    """the other writer whose share rises most"""
    before = {"a": 3.0, "b": -1.0, "c": 2.0, "d": 0.0}
    cases = (({"a": 0.0, "b": 0.5, "c": 2.5, "d": -4.0}, "a", "b"),
             ({"a": 3.5, "b": -3.0, "c": 4.0, "d": 0.1}, "c", "a"))
    for after, removed, right in cases:
        found = answer(before, after, removed)
        assert found == right, f"from {before} to {after} without {removed!r}, {right!r} rises most, not {found!r}"
