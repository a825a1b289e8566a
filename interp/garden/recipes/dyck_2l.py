"""dyck-2l: balanced words of two kinds of brackets, predicted token by token.

That a bracket closes is a matter of chance; of which kind it then is, is not: it is that of the innermost open one.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from interp.garden.recipe import Batch, Recipe
from interp.hooks import HookedModel
from interp.tasks.dyck import LENGTH, START, balanced, innermost

HELD_OUT = (1000, 30_000)  # rows, seed
_FAR = 8  # brackets between the two of a pair from which on the pair counts as far apart


def words(rows: int, generator: Generator) -> Tensor:
    """Token ids [rows, 33]: the start, and a balanced word of 32 brackets."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    found = torch.tensor(balanced(rows, LENGTH, np.random.default_rng(seed)))
    return torch.cat([torch.full((rows, 1), START), found], 1)


def data(rows: int, generator: Generator) -> Batch:
    """Every bracket is predicted, those that open as well."""
    tokens = words(rows, generator)
    return Batch(tokens[:, :-1], tokens[:, 1:])


def metrics(model: HookedModel) -> dict[str, Any]:
    """Share of closing brackets whose logit is above that of the other kind, and of those whose partner is 9 or more
    places back; the loss in nats a bracket, with what chance alone leaves (the entropy of the source)."""
    rows, seed = HELD_OUT
    batch = data(rows, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        logits = model(batch.tokens)
    closes = batch.targets % 2 == 1
    other = torch.where(closes, 4 - batch.targets, batch.targets)
    right = (logits.gather(2, batch.targets[..., None]) > logits.gather(2, other[..., None]))[..., 0]
    back = torch.tensor([[place - (innermost(word[:place]) or 0) if word[place] % 2 else 0 for place in range(LENGTH)]
                         for word in batch.targets.tolist()])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets.flatten())
    return {"accuracy": right[closes].float().mean().item(), "far_accuracy": right[back > _FAR].float().mean().item(),
            "loss": loss.item(), "entropy": _entropy(batch.targets)}


def _entropy(brackets: Tensor) -> float:
    """Mean surprise of the brackets to one who knows how they were drawn: ln 2 for open or close where both can be, and
    ln 2 for the kind of one that opens."""
    opens = brackets % 2 == 0
    before = torch.where(opens, 1, -1).cumsum(1) - torch.where(opens, 1, -1)
    left = LENGTH - torch.arange(LENGTH)
    choice = (before > 0) & (before < left)
    return float(((choice.float() + opens.float()) * np.log(2)).mean())


RECIPE = Recipe(
    name="dyck-2l",
    about="Continues balanced words of ( ) [ ], tokens 0 to 3, behind the start, token 4.",
    architecture="gpt",
    sizes={"d_model": 64, "n_layers": 2, "n_heads": 4, "d_mlp": 128, "d_vocab": START + 1, "n_ctx": LENGTH},
    steps=3000,
    batch=128,
    rate=2e-3,
    data=data,
    metrics=metrics,
)
