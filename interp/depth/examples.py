"""Inputs to look at a model with, where nobody gave any: real text or pictures for those that know them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from interp.hooks import HookedModel
from interp.results.errors import BadInput
from interp.tasks.corpus import Split, documents
from interp.tasks.text import encode, unknown_id

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, which image models expect to be normalised by."""
_UNKNOWN = 0.2


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs `x` with what they are in a sentence, and the labels [batch] of what is independent."""

    x: Any
    what: str
    clusters: list[str]


def examples(model: HookedModel, n: int = 8, tokens: int = 64, seed: int = 0, split: Split = "test") -> Examples:
    """`n` inputs for `model`: windows of `tokens` tokens of held-out English, crops of photographs, or random ids.

    Raises BadInput where none of these fits (the message says what to give instead), or a document is too short.
    """
    if n < 1 or tokens < 2:
        raise BadInput(f"{n} inputs of {tokens} tokens were asked for; at least 1 of 2 are needed")
    generator = np.random.default_rng(seed)
    if model.map.input_name == "pixel_values" or any(
        isinstance(module, nn.Conv2d) and module.in_channels == 3 for module in model.module.modules()
    ):
        return _crops(model, n, generator)
    room = min(tokens, model.map.n_ctx or tokens)
    if model.tokenizer is not None:
        return _windows(model, n, room, split, generator)
    if model.map.d_vocab is not None:
        ids = torch.from_numpy(generator.integers(model.map.d_vocab, size=(n, room)))
        return Examples(ids, f"{n} rows of {room} tokens drawn at random: no text, for want of a tokenizer",
                        [str(i) for i in range(n)])
    raise BadInput(f"there are no examples for {model.name}, which takes neither text nor pictures: call "
                   "interp.depth.profile(model, x) with inputs of your own")


def _windows(model: HookedModel, n: int, tokens: int, split: Split, generator: np.random.Generator) -> Examples:
    texts = [d for d in documents() if d.split == split]
    order = generator.permutation(len(texts))
    rows, names = [], []
    for i in range(n):
        document = texts[order[i % len(texts)]]
        start = int(generator.integers(max(1, len(document.text) - 14 * tokens)))
        start = document.text.find(" ", start) + 1
        ids = encode(model.tokenizer, document.text[start : start + 14 * tokens], special=not model.map.causal)
        if len(ids) < tokens:
            raise BadInput(f"{document.title} ({document.year}) has fewer than {tokens} tokens from character {start}")
        rows.append(ids[:tokens])
        names.append(f"{document.title} {document.year}")
    unknown = unknown_id(model.tokenizer)
    share = float(np.mean([[i == unknown for i in row] for row in rows]))
    if share > _UNKNOWN:
        raise BadInput(f"the tokenizer of {model.name} does not know {share:.0%} of English text: give prompts of a "
                       "task that it knows with --task (`interp depth MODEL --task NAME`)")
    return Examples(torch.tensor(rows), f"{n} windows of {tokens} tokens from held-out addresses", names)


def _crops(model: HookedModel, n: int, generator: np.random.Generator) -> Examples:
    from sklearn.datasets import load_sample_images

    try:
        photos = load_sample_images()
    except ImportError as error:
        raise BadInput("reading the two photographs needs pillow (pip install pillow); or give pixels of your own to "
                       "interp.depth.profile(model, x)") from error
    declared = getattr(getattr(model.module, "config", None), "image_size", None)
    size = declared or getattr(model.module, "default_cfg", {}).get("input_size", (3, 224, 224))[-1]
    if model.map.input_name == "pixel_values":
        size = min(size, 224)  # positions are interpolated where the model was trained on larger pictures
    side = getattr(model.module, "image", size)
    if side != size:
        raise BadInput(f"the photographs are cut to {size} x {size} pixels, and {model.name} takes {side} x {side}: "
                       "give the prompts of a task that it knows with --task, such as digits for 8 x 8 gray pixels")
    rows: list[Tensor] = []
    for i in range(n):
        image = photos.images[i % len(photos.images)]
        side = int(generator.integers(min(size, 224), min(image.shape[:2]) + 1))
        top, left = (int(generator.integers(edge - side + 1)) for edge in image.shape[:2])
        crop = torch.tensor(image[top : top + side, left : left + side]).permute(2, 0, 1)[None].float() / 255
        rows.append(interpolate(crop, (size, size), mode="bilinear", antialias=True)[0])
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
    names = [f"{photos.filenames[i % len(photos.images)].rpartition('/')[2]} crop {i}" for i in range(n)]
    return Examples((torch.stack(rows) - mean) / deviation, f"{n} random crops of two photographs; an interval over "
                    "crops says nothing of other photographs", names)
