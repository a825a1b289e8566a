"""Who sees whom: causal, padded, among active tokens, within groups; against the definition pair by pair."""

import torch

from interp.parts.context import Context


def _sees(context: Context, causal: bool) -> torch.Tensor:
    return context.mask(causal, torch.float64)[:, 0] == 0


def test_among_active_tokens_the_others_see_themselves_alone():
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    active = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 1, 1, 1]]).bool()
    whole = Context(torch.zeros(2, 5, dtype=torch.long), mask)
    context = whole.only(active)
    for causal in (True, False):
        seen = _sees(context, causal)
        for b in range(2):
            for q in range(5):
                for k in range(5):
                    in_reach = k <= q or not causal
                    wanted = q == k or (in_reach and bool(active[b, k]) and bool(mask[b, k]))
                    assert seen[b, q, k] == wanted
    assert torch.equal(context.place, whole.place)
    assert whole.real.equal(mask.bool()) and not torch.equal(_sees(whole, True), _sees(context, True))


def test_groups_do_not_see_each_other():
    group = torch.tensor([[0, 1, 0, 1, 2], [0, 0, 0, 1, 1]])
    context = Context.grouped(torch.zeros_like(group), group)
    for causal in (True, False):
        seen = _sees(context, causal)
        for b in range(2):
            for q in range(5):
                for k in range(5):
                    assert seen[b, q, k] == (group[b, q] == group[b, k] and (k <= q or not causal))
