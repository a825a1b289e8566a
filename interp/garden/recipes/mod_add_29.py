"""mod-add-29: (a + b) mod 29 from three tokens a, b, "=", learned from a part of the 841 sums (Power et al. 2022,
arXiv 2201.02177; Nanda et al. 2023, arXiv 2301.05217).

Weight decay is what makes it generalise, long after the training sums are known by heart.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from interp.garden.recipe import IGNORE, Batch, Recipe
from interp.hooks import HookedModel

P, EQUALS = 29, 29
TRAIN_SHARE, SPLIT_SEED = 0.7, 0


def split() -> tuple[Tensor, Tensor]:
    """Training and held-out sums as token ids [n, 3]; the split is part of the recipe, not of the training seed."""
    a, b = torch.meshgrid(torch.arange(P), torch.arange(P), indexing="ij")
    every = torch.stack([a.flatten(), b.flatten(), torch.full((P * P,), EQUALS)], 1)
    order = torch.randperm(P * P, generator=torch.Generator().manual_seed(SPLIT_SEED))
    cut = round(TRAIN_SHARE * P * P)
    return every[order[:cut]], every[order[cut:]]


def data(rows: int, generator: Generator) -> Batch:
    """All training sums, every time: `rows` and the generator are not used."""
    return _batch(split()[0])


def _batch(tokens: Tensor) -> Batch:
    targets = torch.full_like(tokens, IGNORE)
    targets[:, -1] = tokens[:, :2].sum(1) % P
    return Batch(tokens, targets)


def metrics(model: HookedModel) -> dict[str, Any]:
    """Accuracy and loss (nats) on training and held-out sums."""
    found = {}
    for name, tokens in zip(("train", "held_out"), split()):
        batch = _batch(tokens)
        with torch.no_grad():
            logits = model(tokens)[:, -1]
        target = batch.targets[:, -1]
        found[f"{name}_accuracy"] = (logits.argmax(-1) == target).float().mean().item()
        found[f"{name}_loss"] = torch.nn.functional.cross_entropy(logits, target).item()
    return found


RECIPE = Recipe(
    name="mod-add-29",
    about="Says (a + b) mod 29 behind the tokens a, b, 29: tokens 0 to 28 are numbers, 29 is the equals sign.",
    architecture="gpt",
    sizes={"d_model": 64, "n_layers": 1, "n_heads": 4, "d_mlp": 256, "d_vocab": P + 1, "n_ctx": 3},
    steps=4000,
    batch=round(TRAIN_SHARE * P * P),
    rate=3e-3,
    weight_decay=1.0,
    data=data,
    metrics=metrics,
)
