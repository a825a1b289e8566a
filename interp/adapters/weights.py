"""Weights that are no numbers, found before anything runs on them."""

import torch
from torch import nn

from interp.results.errors import BadInput


def check_weights(module: nn.Module) -> None:
    """Raise BadInput, naming the tensor, where parameters hold NaN or Inf or buffers hold NaN (-inf is a mask)."""
    for path, value in module.named_parameters():
        _refuse(module, path, ~torch.isfinite(value))
    for path, value in module.named_buffers():
        if value.is_floating_point():
            _refuse(module, path, value.isnan())


def _refuse(module: nn.Module, path: str, bad: torch.Tensor) -> None:
    if bool(bad.any()):
        raise BadInput(f"{path!r} of {type(module).__name__} holds {int(bad.sum())} NaN or Inf values; the file it "
                       "came from is damaged, or training diverged")
