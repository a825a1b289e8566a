"""digits-vit: handwritten digits of 8 x 8 pixels from 16 patches, by two blocks of attention and MLP.

The architecture is sret with one visit a block and one group, which is a plain ViT with a mean over patches in place of
a class token, but for two learned coefficients a branch.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from interp.garden.recipe import Batch, Recipe
from interp.hooks import HookedModel
from interp.tasks.digits import CLASSES, SIDE, held_out, trained_on


def data(rows: int, generator: Generator) -> Batch:
    """Images of the training part, each moved by up to one pixel either way; what enters is background."""
    pixels, labels = trained_on()
    chosen = torch.randint(len(labels), (rows,), generator=generator)
    return Batch(moved(pixels[chosen], generator), labels[chosen])


def moved(pixels: Tensor, generator: Generator) -> Tensor:
    """Every image moved by -1, 0 or 1 pixels along both sides; [batch, 1, 8, 8]."""
    large = torch.nn.functional.pad(pixels, (1, 1, 1, 1), value=-1.0)
    down, right = (torch.randint(3, (len(pixels),), generator=generator) for _ in range(2))
    place = torch.arange(SIDE)
    rows, columns = down[:, None] + place, right[:, None] + place
    each = torch.arange(len(pixels))[:, None, None]
    return large[each, 0, rows[:, :, None], columns[:, None, :]][:, None]


def metrics(model: HookedModel) -> dict[str, Any]:
    """Accuracy and loss (nats) on both parts, images where they are."""
    found = {}
    for name, (pixels, labels) in (("train", trained_on()), ("held_out", held_out())):
        with torch.no_grad():
            logits = model(pixels)
        found[f"{name}_accuracy"] = (logits.argmax(-1) == labels).float().mean().item()
        found[f"{name}_loss"] = torch.nn.functional.cross_entropy(logits, labels).item()
    return found


def baseline() -> dict[str, Any]:
    """Held-out accuracy of logistic regression on the pixels."""
    from sklearn.linear_model import LogisticRegression

    (pixels, labels), (asked, truth) = trained_on(), held_out()
    fitted = LogisticRegression(max_iter=2000).fit(pixels.flatten(1).numpy(), labels.numpy())
    return {"logistic_regression_accuracy": float(fitted.score(asked.flatten(1).numpy(), truth.numpy()))}


RECIPE = Recipe(
    name="digits-vit",
    about="Tells the ten digits apart: pixels [batch, 1, 8, 8] from -1 (paper) to 1 (ink), 16 patches of 2 x 2.",
    architecture="sret",
    sizes={"d_model": 64, "n_layers": 2, "n_visits": 1, "n_heads": 4, "n_groups": 1, "image": SIDE, "patch": 2,
           "channels": 1, "n_classes": CLASSES},
    steps=2000,
    batch=128,
    rate=2e-3,
    weight_decay=0.1,
    data=data,
    metrics=metrics,
    baseline=baseline,
)
