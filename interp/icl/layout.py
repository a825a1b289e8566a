"""Examples as the tokens of a prompt (Garg et al. 2022, arXiv 2208.01066, section 2; Guo et al. 2023, 2310.10616).

    interleaved    x_1, (y_1, 0 ..), x_2, (y_2, 0 ..) ...          width d, predictions at every second token
    concatenated   (x_1, 0), (x_1, y_1), (x_2, 0), (x_2, y_2) ...  width d + 1: a y-token has its x as well
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.results.errors import BadInput

Pairs = Float[Tensor, "batch n d"]


def interleave(xs: Pairs, ys: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 2n d"]:
    """Points and answers in turn; an answer stands in the first of d coordinates, the others are 0."""
    check_pairs(xs, ys)
    answers = torch.nn.functional.pad(ys[..., None].to(xs.dtype), (0, xs.shape[-1] - 1))
    return torch.stack([xs, answers], 2).flatten(1, 2)


def concatenated(xs: Pairs, ys: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 2n d+1"]:
    """Points with a 0 behind, and points with their answer behind, in turn."""
    check_pairs(xs, ys)
    asked = torch.nn.functional.pad(xs, (0, 1))
    told = torch.cat([xs, ys[..., None].to(xs.dtype)], -1)
    return torch.stack([asked, told], 2).flatten(1, 2)


def check_pairs(xs: Tensor, ys: Tensor) -> None:
    """Raise BadInput where these are no points [batch, n, d] with one finite answer [batch, n] each."""
    if xs.dim() != 3 or not xs.numel() or tuple(ys.shape) != tuple(xs.shape[:2]):
        raise BadInput(f"xs have shape {list(xs.shape)} and ys {list(ys.shape)}; [batch, n, d] and [batch, n] are "
                       "needed")
    if not (torch.isfinite(xs).all() and torch.isfinite(ys).all()):
        raise BadInput("the examples hold NaN or Inf")
