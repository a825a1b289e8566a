"""Codebooks on disk: `codebooks.safetensors` and `codebooks.json` in a folder."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interp.codebook.book import Codebook
from interp.codebook.books import Books, Placed, keep, precision, restore
from interp.codebook.layout import Layout
from interp.hooks import HookedModel
from interp.results.errors import BadFile, BadInput, InterpError
from interp.results.files import atomic_write, read_json
from interp.results.tensors import load_arrays, save_arrays

SCHEMA = "interp.codebooks/1"
TENSORS, FACTS = "codebooks.safetensors", "codebooks.json"


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """sha256 over names and values."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name."""
    return dict((*module.named_parameters(), *module.named_buffers()))


def save(books: Books, path: Any) -> Path:
    """Write books, what they counted, and the model's weights where it was trained with them, to a folder.

    Weights are written as they are; float types that numpy lacks become float32.
    """
    folder = Path(getattr(path, "path", path))
    arrays = {f"book {name}": value for name, value in books.table.state_dict().items()}
    original = weights_of(books.model.module) if books.weights is None else books.weights
    if books.weights is not None:
        arrays |= {f"model {name}": value for name, value in weights_of(books.model.module).items()}
    facts = {
        "schema": SCHEMA, "model": books.model.name, "weights": digest(original),
        "books": {name.replace("/", "."): book.settings for name, book in books.table.items()},
        "places": {site: [p.book, p.visit, p.layout.groups] for site, p in books.places.items()},
    }
    save_arrays(folder / TENSORS, arrays)
    return atomic_write(folder / FACTS, json.dumps(facts, indent=1) + "\n")


def load(path: str | Path, model: HookedModel) -> Books:
    """The books that `save` wrote, on the model they belong to; where it was trained with them, with those weights.

    Raises BadFile for a damaged or foreign folder, BadInput where `model` is not the one that they were attached to.
    """
    folder = Path(path)
    facts = read_json(folder / FACTS, schema=SCHEMA)
    arrays = {name: torch.from_numpy(value) for name, value in load_arrays(folder / TENSORS).items()}
    try:
        if digest(weights_of(model.module)) != facts["weights"]:
            raise BadInput(f"{folder} holds books of {facts['model']}, whose weights are not those of {model.name}: "
                           "load that model, or attach new books")
        places = {site: Placed(book, visit, Layout(model.site(site), groups))
                  for site, (book, visit, groups) in facts["places"].items()}
        books = {}
        for name, settings in facts["books"].items():
            key = f"book {name.replace('.', '/')}."
            books[name] = Codebook(arrays[f"{key}codes"], **settings).to(device=model.device, dtype=precision(model))
            books[name].load_state_dict({n: arrays[key + n] for n in ("codes", "uses", "window")})
        own = {name.removeprefix("model "): value for name, value in arrays.items() if name.startswith("model ")}
        loaded = Books(model, books, places)
        if own:
            model.weights_before = keep(model.module)
            restore(model.module, own)
    except InterpError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise BadFile(f"{folder}: damaged, not codebooks ({error})") from error
    return loaded
