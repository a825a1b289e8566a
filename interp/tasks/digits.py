"""Handwritten digits of scikit-learn: telling one from another, for image classifiers such as garden/digits-vit.

Data: Alpaydin and Kaynak 1998, "Optical recognition of handwritten digits", UCI repository, doi 10.24432/C50P49, as
scikit-learn ships it: 1797 images of 8 x 8.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.results.errors import BadInput
from interp.tasks.feature_metrics import ClassDiff
from interp.tasks.splits import Pools, Row, generate
from interp.tasks.task import Task

SIDE, CLASSES = 8, 10
HELD_OUT = 600


def digits(model: Any = None, n: int = 64, seed: int = 0) -> Task:
    """Which of two digits: logit of the digit that is seen minus logit of the one of the corrupt image.

    Clean and corrupt are images of different digits, all from the 600 that garden/digits-vit was not trained on. A
    cluster is two images, in both roles; no part has an image of another.
    Raises BadInput for more prompts than there are, and for a model whose images are not of 8 x 8 gray values.
    """
    if model is not None:
        _fits(model)
    pixels, labels = held_out()
    table = generate("digits", n, seed, {"images": list(range(len(labels)))}, lambda p, g: _draw(p, g, labels.tolist()))
    images, others = (torch.tensor(table[column].to_numpy()) for column in ("image", "other"))
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in table["split"].unique()}
    table[["image", "other"]] = table[["image", "other"]].map(lambda index: f"image {index}")
    return Task("digits", pixels[images], pixels[others], ClassDiff(labels[images], labels[others]), table, clusters,
                split, content=("image", "other"))


@cache
def _all() -> tuple[Tensor, Tensor]:
    """Pixels [image, 1, 8, 8] from -1 to 1 and digits [image], in an order of their own."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))  # writers come in blocks
    pixels = torch.tensor(found.images[order] / 8 - 1, dtype=torch.float32)
    return pixels[:, None], torch.tensor(found.target[order], dtype=torch.long)


def held_out() -> tuple[Tensor, Tensor]:
    """The 600 images that are for measuring: pixels [600, 1, 8, 8] from -1 to 1, digits [600]."""
    return tuple(value[-HELD_OUT:] for value in _all())


def trained_on() -> tuple[Tensor, Tensor]:
    """The 1197 images that are for training, as `held_out` gives the others."""
    return tuple(value[:-HELD_OUT] for value in _all())


def _fits(model: Any) -> None:
    sizes = (model.recipe or {}).get("sizes", {})
    if (sizes.get("image"), sizes.get("channels"), sizes.get("n_classes")) != (SIDE, 1, CLASSES):
        raise BadInput(f"task 'digits' has gray images of 8 x 8 and 10 classes, which {model.name} does not take; "
                       "use garden/digits-vit")


def _draw(pools: Pools, generator: np.random.Generator, labels: list[int]) -> list[Row]:
    two = generator.choice(pools["images"], 2, replace=False).tolist()
    if labels[two[0]] == labels[two[1]]:
        return []
    return [
        {"clean": f"image {a}, a {labels[a]}", "corrupt": f"image {b}, a {labels[b]}", "answer": str(labels[a]),
         "wrong": str(labels[b]), "image": a, "other": b, "cluster": " / ".join(map(str, sorted(two)))}
        for a, b in (two, two[::-1])
    ]
