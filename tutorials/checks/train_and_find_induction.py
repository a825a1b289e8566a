"""Checks of notebook 03."""

import torch
from lesson import check

import interp
from interp.garden.recipes import induction_2l


def _score(model) -> float:
    tokens, repeat, _ = induction_2l.held_out()
    with torch.no_grad():
        return induction_2l.accuracy(model(tokens[:64]), tokens[:64], repeat[:64])


@check
def together_minus_alone(answer) -> None:
    """what a group costs beyond the sum of its members"""
    model = interp.load("garden/induction-2l")
    single = answer(model, [(0, 2)], _score)
    assert abs(single) < 1e-6, f"a group of one costs what its member costs: the answer is 0, not {single:.3g}"
    found = answer(model, [(1, 0), (0, 2)], _score)
    assert found < -0.1, f"L0H2 alone leaves nothing, so a second head can cost no more: below 0, not {found:.3g}"
    counted = []
    answer(model, [(0, 0), (0, 1), (0, 3)], lambda m: counted.append(1) or _score(m))
    assert len(counted) >= 5, "score the whole model, every head alone, and all of them together"


@check
def offset_score(answer) -> None:
    """the share of attention exactly period - 1 back"""
    pattern = torch.zeros(2, 2, 6, 6)
    pattern[:, 0, torch.arange(3, 6), torch.arange(3)] = 1  # head 0 looks three back wherever it can
    pattern[:, 1] = torch.ones(6, 6).tril() / torch.arange(1, 7)[:, None]
    found = torch.as_tensor(answer(pattern, 4))
    assert found.shape == (2,), f"one number for each of the 2 heads, not shape {list(found.shape)}"
    assert abs(found[0] - 1) < 1e-6, f"with period 4 a head that looks three back has 1, not {found[0]:.3g}"
    right = sum(1 / (query + 1) for query in range(3, 6)) / 3
    assert abs(found[1] - right) < 1e-6, f"an even look has {right:.4f} over queries 3 to 5, not {found[1]:.4g}"


@check
def looks_things_up(answer) -> None:
    """a test that a counting model fails"""
    finds = answer("looks", lambda period: period, lambda model, rows: 0.99)
    assert finds is True, "a model with 0.99 on every period passes"
    for own in range(4, 15):
        passed = answer("counts", lambda period: period, lambda model, rows, own=own: 1.0 if rows == own else 0.0)
        assert passed is False, f"a model that counts {own - 1} back, right on period {own} only, passes your test"
    weak = answer("weak", lambda period: period, lambda model, rows: 0.85)
    assert weak is False, "0.85 on every period is below the bar of 0.9"
    mean = answer("mean", lambda period: period, lambda model, rows: 0.75 if rows > 9 else 1.0)
    assert mean is False, "right on short periods only: look at each, not at the mean, and at long ones too"
