"""sorting-1l: ten numbers, a separator, the same numbers in order, by one attention-only layer.

A head that looks for the smallest number above the one it stands on sorts; equal numbers need counting as well.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from interp.garden.recipe import IGNORE, Batch, Recipe
from interp.hooks import HookedModel

N_NUMBERS, LENGTH = 32, 10
SEPARATOR = N_NUMBERS
HELD_OUT = (2000, 20_000)  # rows, seed


def sequences(rows: int, generator: Generator) -> Tensor:
    """Token ids [rows, 21]: ten numbers (0 to 31, equal ones allowed), the separator 32, the numbers in order."""
    numbers = torch.randint(N_NUMBERS, (rows, LENGTH), generator=generator)
    return torch.cat([numbers, torch.full((rows, 1), SEPARATOR), numbers.sort(1).values], 1)


def data(rows: int, generator: Generator) -> Batch:
    """The ordered half is predicted, from the separator on; its last number is input to nothing."""
    tokens = sequences(rows, generator)
    targets = torch.full_like(tokens[:, :-1], IGNORE)
    targets[:, LENGTH:] = tokens[:, LENGTH + 1 :]
    return Batch(tokens[:, :-1], targets)


def metrics(model: HookedModel) -> dict[str, Any]:
    """Share of right numbers and of rows without a mistake, each number predicted behind the true ones before it."""
    rows, seed = HELD_OUT
    batch = data(rows, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        right = (model(batch.tokens).argmax(-1) == batch.targets)[:, LENGTH:]
    return {"accuracy": right.float().mean().item(), "whole_row_accuracy": right.all(1).float().mean().item()}


RECIPE = Recipe(
    name="sorting-1l",
    about="Sorts ten numbers behind a separator: tokens 0 to 31 are numbers, 32 is the separator.",
    architecture="attn-only",
    sizes={"d_model": 64, "n_layers": 1, "n_heads": 2, "d_vocab": N_NUMBERS + 1, "n_ctx": 2 * LENGTH},
    steps=3000,
    batch=256,
    rate=2e-3,
    data=data,
    metrics=metrics,
)
