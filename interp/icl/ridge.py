"""Linear read-outs in closed form: ridge on standardised features, many targets at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.results.errors import BadInput


@dataclass(frozen=True, eq=False)
class Linear:
    """y = x weight + shift; weight [width, target], shift [target], float64."""

    weight: Tensor
    shift: Tensor

    def __call__(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... target"]:
        return x.double() @ self.weight + self.shift


def fit_ridge(
    x: Float[Tensor, "row width"], y: Float[Tensor, "row target"], penalty: float = 1e-6
) -> Linear:
    """The map of least mean squared error plus `penalty` times the squared weights of standardised features.

    Features without variance get no weight. Raises BadInput for rows that do not pair, or fewer than two.
    """
    if x.dim() != 2 or y.dim() != 2 or len(x) != len(y) or len(x) < 2:
        raise BadInput(f"features {list(x.shape)} and targets {list(y.shape)} are to be [row, width] and [row, target] "
                       "with the same rows, two at least")
    x, y = x.double(), y.double()
    center, middle = x.mean(0), y.mean(0)
    spread = x.std(0, correction=0)
    spread = torch.where(spread > 1e-9 * spread.max().clamp_min(1e-30), spread, torch.inf)
    unit = (x - center) / spread
    gram = unit.T @ unit / len(x)
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, unit.T @ (y - middle) / len(x)) / spread[:, None]
    return Linear(weight, middle - center @ weight)


def r_squared(said: Float[Tensor, "row target"], y: Float[Tensor, "row target"]) -> float:
    """1 - squared error / variance, both summed over targets; below 0 where the mean would do better."""
    y = y.double()
    left = (y - said).square().sum()
    return float(1 - left / (y - y.mean(0)).square().sum().clamp_min(1e-300))
