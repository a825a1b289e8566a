"""Checks of notebook 17."""

import broken_runs as studies
import numpy as np
import torch
from lesson import check

import interp
from interp.results.estimate import max_t

_MADE: dict[int, studies.Study] = {}


def _study(number: int) -> studies.Study:
    """Study 4 or 5, computed once."""
    if number not in _MADE:
        _MADE[number] = (studies.study_4 if number == 4 else studies.study_5)()
    return _MADE[number]



@check
def distances(answer) -> None:
    """the distances to the previous copy"""
    by_hand = torch.tensor([[9, 1, 2, 1, 1], [9, 4, 5, 6, 7]])
    assert answer(by_hand) == {1, 2}, f"9 1 2 1 1 has a copy 2 back and one 1 back, not {answer(by_hand)}"
    fixed = studies.repeat_rows(16, 1, (7, 7))
    assert answer(fixed) == {7}, f"blocks of 7 have their copies 7 back, and nowhere else: not {answer(fixed)}"
    varied = answer(studies.repeat_rows(256, 1, (4, 14)))
    assert varied == set(range(4, 15)), f"periods of 4 to 14 have copies 4 to 14 back, not {sorted(varied)}"


@check
def leave_one_out(answer) -> None:
    """every group is held out once, whole"""
    groups = np.array([3, 1, 3, 7, 1, 3])
    pairs = answer(groups)
    assert len(pairs) == 3, f"three groups make three pairs, not {len(pairs)}"
    assert sorted(np.concatenate([test for _, test in pairs]).tolist()) == [*range(6)], "every row is tested once"
    for train, test in pairs:
        shared = set(groups[train]) & set(groups[test])
        assert not shared, f"group {shared.pop()} is in training and test"
        assert len(train) + len(test) == 6, "rows are missing: train on all that is not held out"


@check
def last_difference(answer) -> None:
    """where clean and corrupt differ last"""
    for counterfactual in ("answer", "prefix"):
        task = interp.task("induction", model=interp.load("garden/induction-2l"), n=12, seed=7,
                           counterfactual=counterfactual)
        found = list(answer(task))
        assert len(found) == 12, f"one position for each of 12 prompts, not {len(found)}"
        for row, place in enumerate(found):
            right = max(i for i in range(task.clean.shape[1]) if task.clean[row, i] != task.corrupt[row, i])
            assert place == right, f"prompt {row} differs last at token {right} (BOS is token 0), not {place}"


@check
def is_connected(answer) -> None:
    """a site is connected where overwriting it changes the output"""
    broken, whole = _study(4), interp.load("garden/induction-2l")
    rows = broken.data["tokens"][:6]
    for label, model, name, right in (
        ("the study's", broken.model, "blocks.0.attn.hook_pattern", False),
        ("the study's", broken.model, "blocks.0.attn.hook_z", True),
        ("the whole", whole, "blocks.0.attn.hook_pattern", True),
    ):
        said = bool(answer(model, name, rows))
        assert said == right, f"{name} of {label} model is {'' if right else 'not '}connected"
        assert torch.equal(model(rows), model(rows)), "the model must be left as it was"


@check
def artefacts(answer) -> None:
    """heads that matter only because zero is strange"""
    known = interp.load("garden/induction-2l")
    task = interp.task("induction", model=known, n=32, seed=2)
    sources = [interp.Source("blocks.0.attn.hook_z", head=head) for head in range(4)]
    found = sorted(answer(known, task, sources))
    assert found == [1], f"in layer 0 of garden/induction-2l it is head 1 alone (notebook 05), not {found}"
    study = _study(5)
    found = sorted(answer(study.model, study.data["task"], study.data["sources"]))
    assert 7 in found and 4 in found, f"L1H3 and L1H0 of the study are artefacts; you have {found}"
    kept = {0: "L0H0", 5: "L1H1", 6: "L1H2"}
    wrong = [name for number, name in kept.items() if number in found]
    assert not wrong, f"{wrong[0]} is none: its mean at each position costs logits as well"


@check
def honest(answer) -> None:
    """chosen on one part, measured on another"""
    generator = np.random.default_rng(3)
    seen, unseen = generator.normal(size=(40, 24)), generator.normal(size=(40, 20))
    seen[17] -= 1.0
    unseen[17] -= 0.5
    best, later, p = answer(seen, unseen)
    assert best == 17, f"neuron 17 has the largest mean in size, {seen[17].mean():.2f}; not {best}"
    assert abs(later + unseen[17].mean()) < 1e-9, (
        f"on the unseen part it is {unseen[17].mean():.2f}, and it was negative when seen: so "
        f"{-unseen[17].mean():.2f}, not {later:.2f}")
    right = max_t(seen)[17]
    assert abs(p - right) < 1e-9, f"the adjusted p is {right:.4f}, not {p:.4f}: max_t of all neurons, on the seen part"
