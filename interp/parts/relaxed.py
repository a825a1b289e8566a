"""Relaxed recursive layers (Bae et al. 2024, 2410.20672): a linear map shared by loops, a low-rank one of each loop.

    y = x (W + B_l A_l)^T + b_l              W [out, in] shared, A_l [rank, in] and B_l [out, rank] of loop l

`relax` makes such a model of one with L = loops * n_shared layers: layer i of every loop shares its maps; norms and
biases stay a layer's own. Shared maps start as `lower` (the first n_shared layers), `average` (of the tied ones)
or `stepwise` (layers at equal distances, first and last among them); the low-rank part as the best of its rank for what
is left, original minus shared (singular value decomposition). Surprises: at full rank the model is the original one,
whatever the start of the shared maps; and with rank 0 it is a plain loop with norms of its own.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.parts.model import Model
from interp.results.errors import BadInput

Start = Literal["stepwise", "average", "lower"]


class RelaxedLinear(nn.Module):
    """One loop's visit of a shared map. `weight` is the sum that acts."""

    def __init__(self, shared: nn.Linear, rank: int, bias: Tensor | None):
        super().__init__()
        self.shared = shared
        out, into = shared.weight.shape
        self.down = nn.Parameter(torch.zeros(rank, into, dtype=shared.weight.dtype, device=shared.weight.device))
        self.up = nn.Parameter(torch.zeros(out, rank, dtype=shared.weight.dtype, device=shared.weight.device))
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Both factors small but not zero, so that loops differ from the start."""
        self.down.normal_(0.0, std, generator=generator)
        self.up.normal_(0.0, std, generator=generator)
        if self.bias is not None:
            self.bias.zero_()

    @property
    def weight(self) -> Float[Tensor, "out in"]:
        """Shared plus low-rank, as nn.Linear has it."""
        return self.shared.weight + self.up @ self.down

    @property
    def out_features(self) -> int:
        return self.shared.out_features

    def forward(self, x: Float[Tensor, "... in"]) -> Float[Tensor, "... out"]:
        y = F.linear(F.linear(x, self.down), self.up) + self.shared(x)
        return y if self.bias is None else y + self.bias

    def fit(self, weight: Tensor) -> None:
        """The low-rank part that leaves least (Frobenius norm) of `weight` minus the shared map."""
        rank = self.down.shape[0]
        u, s, v = torch.linalg.svd(weight.double() - self.shared.weight.double(), full_matrices=False)
        self.up.data.copy_(u[:, :rank] * s[:rank])
        self.down.data.copy_(v[:rank])  # orthonormal: where nothing is left both zero would never learn


def relax(model: Model, n_shared: int, rank: int, start: Start = "stepwise") -> Model:
    """`model`, changed in place: every linear map of its blocks shared by loops over `n_shared` layers.

    A rank larger than a map's is cut to it. Raises BadInput where layers do not divide into loops, and for models whose
    layers are tied already.
    """
    layers = len(model.blocks)
    if layers != model.spec.n_layers or layers % n_shared:
        raise BadInput(f"{layers} layers of {model.spec.n_layers} depths do not make loops of {n_shared} untied layers")
    if start not in get_args(Start):
        raise BadInput(f"no start {start!r} for the shared maps; there are: {', '.join(get_args(Start))}")
    chosen = {"stepwise": _stepwise(layers, n_shared), "lower": list(range(n_shared)), "average": None}[start]
    for path in [path for path, part in model.blocks[0].named_modules() if isinstance(part, nn.Linear)]:
        originals = [block.get_submodule(path) for block in model.blocks]
        weights = [linear.weight.detach().clone() for linear in originals]
        for first in range(n_shared):
            tied = range(first, layers, n_shared)
            out, into = weights[0].shape
            shared = nn.Linear(into, out, bias=False, dtype=weights[0].dtype, device=weights[0].device)
            shared.weight.data.copy_(
                torch.stack([weights[i] for i in tied]).mean(0) if chosen is None else weights[chosen[first]])
            for i in tied:
                relaxed = RelaxedLinear(shared, min(rank, *weights[i].shape), originals[i].bias)
                if weights[i].device.type != "meta":
                    relaxed.fit(weights[i])
                parent, _, name = path.rpartition(".")
                model.blocks[i].get_submodule(parent).add_module(name, relaxed)
    return model


def _stepwise(layers: int, n_shared: int) -> list[int]:
    """`n_shared` layers at equal distances, the first and (of more than one) the last among them."""
    return [round(i * (layers - 1) / max(n_shared - 1, 1)) for i in range(n_shared)]
