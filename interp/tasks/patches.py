"""A patch that is hidden: does its feature know from which photograph it is? For image encoders such as dinov2-s.

Data: the two photographs that scikit-learn ships, china.jpg and flower.jpg (`sklearn.datasets.load_sample_images`).
Reading classes off single patch features is as in Oquab et al. 2023, "DINOv2", arXiv 2304.07193.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from interp.results.errors import BadInput, ModelMissing
from interp.tasks.feature_metrics import Projection
from interp.tasks.splits import PARTS, Pools, Row, generate
from interp.tasks.task import Task

PHOTOGRAPHS = ("china", "flower")
TILE, SIDE = 53, 112  # pixels of the photograph, and of the model's input
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which such models are trained with
_RIDGE = 0.1  # of the mean variance, added to every direction (Friedman 1989, regularised discriminant analysis)
_CHUNK = 16


def patches(model: Any = None, n: int = 48, seed: int = 0, *, hidden: int = 1) -> Task:
    """Which photograph a hidden patch is from: its last feature, along the line that tells the two classes apart.

    Both photographs are cut into 96 tiles of 53 x 53 pixels, without overlap, which are enlarged to 112 x 112. In a
    clean tile a square of `hidden` x `hidden` patches is painted in the mean colour of ImageNet, and the feature of its
    middle is read; corrupt is a tile of the other photograph with the same square hidden, so that what is known about
    the patch has come from others. The line is the regularised linear discriminant of all patches of 24 tiles of each
    photograph that are in no prompt, nothing hidden: 1 is the mean feature of the right class there, -1 of the other.
    A cluster is a tile of either photograph, in both roles; no part has a tile of another (neighbours in a photograph
    may be in different parts).
    Raises BadInput for a model that does not give features of patches, ModelMissing where Pillow is not installed.
    """
    if model is None or getattr(model, "tokenizer", None) is not None:
        raise BadInput("task 'patches' is for an encoder of images, such as dinov2-s; give model=...")
    if hidden not in (1, 3, 5):
        raise BadInput(f"patches hides a square of 1, 3 or 5 patches, not {hidden!r}")
    tiles = _tiles()
    grid, first = _grid(model, tiles["china"][:1])
    if grid <= hidden + 1:
        raise BadInput(f"{model.name} cuts {SIDE} pixels into {grid} x {grid} patches: {hidden} x {hidden} cannot be "
                       "hidden among them")
    order = {name: np.random.default_rng([seed, i]).permutation(len(tiles[name])) for i, name in enumerate(PHOTOGRAPHS)}
    fit = {name: order[name][: len(order[name]) // 4] for name in PHOTOGRAPHS}
    pairs = [tuple(map(int, two)) for two in zip(*(order[name][len(fit[name]) :] for name in PHOTOGRAPHS), strict=True)]
    table = generate("patches", n, seed, {"pairs": pairs}, lambda p, g: _draw(p, g, grid, hidden))
    origin, line = _line(model, {name: tiles[name][fit[name]] for name in PHOTOGRAPHS}, first)
    inputs = {side: _painted(tiles, table, side, grid, hidden) for side in ("clean", "corrupt")}
    sign = torch.tensor([1.0 if name == PHOTOGRAPHS[0] else -1.0 for name in table["photograph"]])
    at = torch.tensor((first + table["row"] * grid + table["column"]).to_numpy())
    metric = Projection(at, sign[:, None] * line, origin.expand(n, -1))
    _, clusters = np.unique(table["cluster"], return_inverse=True)
    split = {part: np.flatnonzero(table["split"] == part) for part in PARTS}
    return Task("patches", inputs["clean"], inputs["corrupt"], metric, table, clusters, split,
                content=("tile", "other"))


@cache
def _tiles() -> dict[str, Tensor]:
    """Photograph -> its tiles, enlarged, in the colours that the model expects: [96, 3, 112, 112]."""
    try:
        from sklearn.datasets import load_sample_image

        photographs = {name: load_sample_image(f"{name}.jpg") for name in PHOTOGRAPHS}
    except ImportError as error:
        raise ModelMissing(f"the photographs cannot be decoded without Pillow ({error}); install it with: "
                           "pip install pillow") from error
    found = {}
    for name, pixels in photographs.items():
        high, wide = (size // TILE * TILE for size in pixels.shape[:2])
        cut = torch.tensor(pixels[:high, :wide].copy()).permute(2, 0, 1).float() / 255
        cut = cut.unfold(1, TILE, TILE).unfold(2, TILE, TILE).permute(1, 2, 0, 3, 4).reshape(-1, 3, TILE, TILE)
        large = interpolate(cut, (SIDE, SIDE), mode="bilinear", align_corners=False)
        found[name] = (large - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
    return found


def _grid(model: Any, tile: Tensor) -> tuple[int, int]:
    """Patches along a side, and how many other tokens come before them."""
    with torch.no_grad():
        output = model(tile)
    if output.dim() != 3:
        raise BadInput(f"task 'patches' reads features of patches; {model.name} gives {list(output.shape)}")
    grid = math.isqrt(output.shape[1])
    return grid, output.shape[1] - grid**2


def _line(model: Any, tiles: dict[str, Tensor], first: int) -> tuple[Tensor, Tensor]:
    """The point between the mean patch features of the two classes, and the linear discriminant's direction, along
    which they are at 1 and -1."""
    features = []
    for name in PHOTOGRAPHS:
        with torch.no_grad():
            found = [model(tiles[name][i : i + _CHUNK])[:, first:] for i in range(0, len(tiles[name]), _CHUNK)]
        features.append(torch.cat(found).flatten(0, 1).double())
    one, other = (feature.mean(0) for feature in features)
    within = torch.cat([features[0] - one, features[1] - other])
    spread = within.T @ within / len(within)
    spread += _RIDGE * spread.diagonal().mean() * torch.eye(len(spread))
    direction = torch.linalg.solve(spread, one - other)
    return ((one + other) / 2).float(), (2 * direction / (direction @ (one - other))).float()


def _painted(tiles: dict[str, Tensor], table: Any, side: str, grid: int, hidden: int) -> Tensor:
    """The images of one side, [batch, 3, 112, 112], with the square of each row at the mean colour, which is 0."""
    images = []
    for row in table.itertuples():
        photograph = row.photograph if side == "clean" else PHOTOGRAPHS[1 - PHOTOGRAPHS.index(row.photograph)]
        image = tiles[photograph][row.tile_at if side == "clean" else row.other_at].clone()
        patch, reach = SIDE // grid, hidden // 2
        top, left = (row.row - reach) * patch, (row.column - reach) * patch
        image[:, top : top + hidden * patch, left : left + hidden * patch] = 0
        images.append(image)
    return torch.stack(images)


def _draw(pools: Pools, generator: np.random.Generator, grid: int, hidden: int) -> list[Row]:
    pair = pools["pairs"][generator.integers(len(pools["pairs"]))]
    row, column = generator.integers(hidden // 2 + 1, grid - hidden // 2 - 1, size=2).tolist()
    place = f"patch {row}, {column} hidden"
    rows = []
    for side, photograph in enumerate(PHOTOGRAPHS):
        own, other = (f"{PHOTOGRAPHS[i]} {pair[i]}" for i in (side, 1 - side))
        rows.append({
            "clean": f"{own}, {place}", "corrupt": f"{other}, {place}", "answer": photograph,
            "wrong": PHOTOGRAPHS[1 - side], "photograph": photograph, "tile": own, "other": other,
            "tile_at": pair[side], "other_at": pair[1 - side], "row": row, "column": column,
            "cluster": f"{pair[0]} / {pair[1]}",
        })
    return rows
