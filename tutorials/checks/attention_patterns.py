"""Checks of notebook 02."""

import torch
from lesson import check

import interp
from interp.garden.recipes import induction_2l


@check
def name_pattern(answer) -> None:
    """the common patterns by name"""
    n = 8
    one_back = torch.diag(torch.ones(n - 1), -1)
    one_back[0, 0] = 1
    first = torch.zeros(n, n)
    first[:, 0] = 1
    even = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    cases = {"previous": one_back, "self": torch.eye(n), "first": first, "mixed": even}
    for name, pattern in cases.items():
        found = answer(pattern)
        assert found == name, f"a head that is {name!r} is called {found!r}"
        blurred = 0.7 * pattern + 0.3 * even
        assert answer(blurred) == name, f"with 0.7 of its attention so it is {name!r}, not {answer(blurred)!r}"
    weak = 0.3 * one_back + 0.7 * even
    assert answer(weak) == "mixed", "less than half one back is mixed"


@check
def logit_when_turned(answer) -> None:
    """the right token's logit with heads turned around"""
    model = interp.load("garden/induction-2l")
    many, repeat, _ = (part[:32] for part in induction_2l.held_out())
    found = [answer(model, many, repeat, list(range(n))) for n in (0, 1, 4)]
    with torch.no_grad():
        logits = model(many)
    right = logits[:, :-1].gather(-1, many[:, 1:, None])[..., 0][repeat[:, :-1]].mean().item()
    assert abs(found[0] - right) < 1e-3, f"with no head turned it is {right:.2f}, not {found[0]:.2f}"
    assert found[1] < found[0] - 1, f"one head turned lowers it by several logits; you have {found[1]:.2f}"
    assert found[2] < 0, f"with all four turned the right token is pushed down, below 0; you have {found[2]:.2f}"


@check
def latest_copy(answer) -> None:
    """the exact pattern of a duplicate-token head"""
    tokens = torch.tensor([9, 3, 4, 3, 4, 4])
    found = torch.as_tensor(answer(tokens))
    assert found.shape == (6, 6), f"the pattern is [query, key], 6 by 6, not {list(found.shape)}"
    assert torch.allclose(found.sum(1), torch.ones(6)), "rows must sum to 1"
    keys = found.argmax(1).tolist()
    for query, (key, right) in enumerate(zip(keys, [0, 0, 0, 1, 2, 4])):
        assert key == right, f"position {query} of {tokens.tolist()} looks at {right}, not at {key}"
