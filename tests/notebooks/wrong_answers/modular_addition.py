"""Wrong answers to notebook 13: checking function -> arguments that it must reject."""

import torch


def _waves(f, scale=1.0):
    angle = 2 * torch.pi * f * torch.arange(29) / 29
    return scale * torch.stack([angle.cos(), angle.sin()])


def _kept(table, kept):
    some = torch.cat([_waves(f, (2 / 29) ** 0.5) for f in kept])
    return some.T @ (some @ table)


def _margin(heights, removed, keep):
    f, d = torch.arange(1, 15)[:, None], torch.arange(1, 15)
    left = torch.zeros(14) if keep else heights.clone()
    left[removed - 1] = heights[removed - 1] if keep else 0
    return (left[:, None] * (1 - torch.cos(2 * torch.pi * f * d / 29))).sum(0)


WRONG = {
    "waves": [(_waves,), (lambda f: _waves(f, (2 / 29) ** 0.5).flip(0),)],  # not of length 1; sine first
    "keep_only": [(_kept,), (lambda table, kept: table,)],  # without the mean
    "predicted_mistakes": [
        (lambda heights, removed: (_margin(heights, removed, False).argsort()[-2:] + 1).tolist(),),  # the largest
        (lambda heights, removed: (_margin(heights, removed, True).argsort()[:2] + 1).tolist(),),  # that one
    ],
}
