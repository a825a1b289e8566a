"""Checks of notebook 05."""

import torch
from lesson import check

import interp


@check
def effect_of_patching(answer) -> None:
    """the effect of one head, patched by hand"""
    model = interp.load("garden/induction-2l")
    task = interp.task("induction", model=model, n=16, seed=1)
    for layer, head in ((0, 2), (1, 3), (0, 0)):
        source = interp.Source(f"blocks.{layer}.attn.hook_z", head=head)
        right = interp.effects(model, task.clean, [source], task.metric, baseline=interp.Counterfactual(task.corrupt))
        right, found = right.mean.item(), answer(model, task, layer, head)
        assert abs(found - right) < 0.01 + 1e-3 * abs(right), f"L{layer}H{head} has {right:.2f}, not {found:.2f}"


@check
def two_means(answer) -> None:
    """the mean over everything, and the mean at each position"""
    z = torch.arange(24.0).reshape(3, 4, 2) ** 2
    found = answer(z)
    assert len(found) == 2 and all(part.shape == z.shape for part in found), "two tensors of the shape of z"
    whole, each = found
    assert torch.allclose(whole, z.flatten(0, 1).mean(0).expand_as(z)), "the first is one vector for all places"
    right = torch.stack([z[:, i].mean(0) for i in range(4)]).expand_as(z)
    assert torch.allclose(each, right), "the second is one vector for each position, averaged over prompts alone"


@check
def both_directions(answer) -> None:
    """noising and denoising of a gate"""
    cases = {"AND": (lambda a, b: a * b, (1, 0)), "OR": (max, (0, 1)), "only the second": (lambda a, b: b, (0, 0)),
             "a sum": (lambda a, b: 3 * a + b, (3, 3))}
    for name, (gate, right) in cases.items():
        found = tuple(answer(gate))
        assert found == right, f"{name}: noising loses {right[0]}, denoising restores {right[1]}; not {found}"
