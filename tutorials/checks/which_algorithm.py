"""Checks of notebook 10."""

import torch
from lesson import check


@check
def newton_step(answer) -> None:
    """one step of Newton's iteration for an inverse"""
    S = torch.diag(torch.tensor([1.0, 0.5]))
    found = answer(torch.eye(2) * 0.8, S)
    right = torch.diag(torch.tensor([0.96, 1.28]))
    assert torch.allclose(found, right), f"M = 0.8, S = diag(1, 0.5) gives diag(0.96, 1.28), not {found.tolist()}"
    draw = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    S = draw @ draw.T / 12
    M = S / S.square().sum()
    for _ in range(40):
        M = answer(M, S)
    assert torch.allclose(M @ S, torch.eye(4), atol=1e-3), "forty steps should end in the inverse of S"


@check
def alike(answer) -> None:
    """the cosine between two lists of errors"""
    truth = torch.tensor([1.0, -2.0, 3.0])
    error, other = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.0, 2.0, 2.0])
    for a, b, right in ((error, 3 * error, 1.0), (error, -error, -1.0), (error, other, 0.5)):
        found = answer(truth + a, truth + b, truth)
        assert abs(found - right) < 1e-5, f"errors {a.tolist()} and {b.tolist()} have {right}, not {found:.3f}"


@check
def judged(answer) -> None:
    """the step is chosen at home, and judged elsewhere"""
    home = torch.tensor([[0.1, 0.2], [0.9, 0.7], [0.8, 0.6]])
    elsewhere = torch.tensor([[0.2, 0.2], [0.5, 0.3], [0.9, 0.9]])
    found = answer(home, elsewhere)
    assert abs(found - 0.4) < 1e-6, f"step 1 is best at home, and has 0.4 elsewhere; you have {found:.2f}"
    home = torch.tensor([[1.0, 0.0], [0.6, 0.6]])
    found = answer(home, elsewhere[1:])
    assert abs(found - 0.9) < 1e-6, f"the best mean over prompts is step 1, with 0.9 elsewhere; not {found:.2f}"
