"""A hooked model on disk: `model.safetensors` and `interp.json` in a directory. Numbers and names, nothing that runs.

Shared parameters are stored once, with a map of who shares them. The JSON carries the hash of the weights, so that a
directory that was half replaced is refused, never read as something else.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from interp.hooks.model import HookedModel
from interp.results.environment import versions
from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write, read_json

SCHEMA = "interp.model/1"
REBUILT = ("catalog", "transformers", "timm")
"""Sources of architectures that can be built again by name."""

WEIGHTS, FACTS, TOKENIZER = "model.safetensors", "interp.json", "tokenizer"


@dataclass(frozen=True)
class ModelFiles:
    """What a saved directory holds.

    `recipe` says how to rebuild the module, `tensors` are its parameters and persistent buffers (shared ones once),
    `ties` maps a name to the one it shares its tensor with, `casts` gives the types of buffers that are not saved,
    `tokenizer` is a directory or None, `extra` what the writer added (metrics ...).
    """

    name: str
    recipe: dict[str, Any]
    tensors: dict[str, Tensor]
    ties: dict[str, str]
    casts: dict[str, str]
    tokenizer: Path | None
    extra: dict[str, Any]

    def fill(self, module: nn.Module) -> None:
        """Give `module` these weights, their types and their ties. Raises BadFile where they do not fit."""
        whole = self.tensors | {alias: self.tensors[owner] for alias, owner in self.ties.items()}
        try:
            module.load_state_dict(whole, assign=True)
        except (RuntimeError, KeyError) as error:
            raise BadFile(f"the weights do not fit {self.name}: {str(error).splitlines()[-1].strip()}") from error
        for alias, owner in self.ties.items():
            path, _, attribute = alias.rpartition(".")
            setattr(module.get_submodule(path), attribute, _parameter(module, owner))
        for name, dtype in self.casts.items():
            path, _, attribute = name.rpartition(".")
            holder = module.get_submodule(path)
            setattr(holder, attribute, getattr(holder, attribute).to(getattr(torch, dtype)))


def _parameter(module: nn.Module, name: str) -> Any:
    path, _, attribute = name.rpartition(".")
    return getattr(module.get_submodule(path), attribute)


def save_model(model: HookedModel, path: str | Path, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `model` to the directory `path`, other files there left alone; returns the path.

    `extra` is kept in the JSON (metrics, seeds). A tokenizer is saved where it can save itself.
    Raises BadInput for a model without a recipe (a foreign module, which could not be rebuilt without executing its
    code) and InterpError where the disk refuses.
    """
    recipe = model.recipe or {}
    # a timm module that was built by hand has no name to be built again from
    if recipe.get("source") not in REBUILT or recipe.get("architecture", "named") is None:
        raise BadInput(f"{model.name} is a foreign module: interp could not rebuild it without executing its code. "
                       "Save its state_dict with safetensors and wrap it again with interp.hook")
    path = Path(path)
    tensors, ties = _once(model.state_dict())
    weights = save(tensors)
    facts = {
        "schema": SCHEMA, "name": model.name, "recipe": encode(recipe), "ties": ties,
        "casts": _casts(model.module), "sha256": hashlib.sha256(weights).hexdigest(), "versions": versions(),
        "tokenizer": _save_tokenizer(model.tokenizer, path / TOKENIZER), **(extra or {}),
    }
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    atomic_write(path / WEIGHTS, weights)
    atomic_write(path / FACTS, text)
    return path


def _once(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every tensor once, and {name: the name it shares its memory with}."""
    owners: dict[tuple, str] = {}
    tensors, ties = {}, {}
    for name, value in state.items():
        same = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and same in owners:
            ties[name] = owners[same]
        else:
            owners[same] = name
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensors, ties


def _casts(module: nn.Module) -> dict[str, str]:
    """Types of the floating buffers that are computed anew on building; a half-precision model has cast them."""
    saved = module.state_dict().keys()
    return {name: str(buffer.dtype).removeprefix("torch.") for name, buffer in module.named_buffers()
            if name not in saved and buffer.is_floating_point()}


def _save_tokenizer(tokenizer: Any, path: Path) -> bool:
    """Write a tokenizer that can save itself; False for none, or for one that cannot."""
    if not hasattr(tokenizer, "save_pretrained"):
        return False
    with TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)
        for file in sorted(Path(scratch).iterdir()):
            atomic_write(path / file.name, file.read_bytes())
    return True


def read_model_files(path: str | Path) -> ModelFiles:
    """The content of a directory written by `save_model`, checked against its hash.

    Raises BadFile for anything damaged, foreign or of another schema.
    """
    path = Path(path)
    facts = read_json(path / FACTS, schema=SCHEMA)
    known = ("schema", "name", "recipe", "ties", "casts", "sha256", "versions", "tokenizer")
    missing = [key for key in known if key not in facts]
    if missing:
        raise BadFile(f"{path / FACTS}: damaged, it has no {missing[0]!r}")
    tensors = _read_weights(path / WEIGHTS, facts["sha256"])
    extra = {key: value for key, value in facts.items() if key not in known}
    tokenizer = path / TOKENIZER if facts["tokenizer"] else None
    return ModelFiles(facts["name"], decode(facts["recipe"]), tensors, facts["ties"], facts["casts"], tokenizer, extra)


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadFile(f"{path}: damaged or replaced: it is not the file {FACTS} beside it was written with")
    try:
        return load(data)
    except SafetensorError as error:
        raise BadFile(f"{path}: damaged, not a safetensors file ({error})") from error


def encode(value: Any) -> Any:
    """A recipe as strict JSON holds it: infinities become {"__float__": "inf"}, keys text, odd values text."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"__float__": repr(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [encode(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def decode(value: Any) -> Any:
    """The inverse of `encode` for what JSON can tell apart."""
    if isinstance(value, dict):
        return float(value["__float__"]) if set(value) == {"__float__"} else {k: decode(v) for k, v in value.items()}
    return [decode(item) for item in value] if isinstance(value, list) else value
