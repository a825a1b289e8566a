"""Modules from recipes: the catalog, a class of transformers, or a timm architecture. Nothing in a file is executed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from interp import adapters
from interp.adapters.weights import check_weights
from interp.garden.catalog import build
from interp.hooks.files import TOKENIZER, ModelFiles
from interp.hooks.model import HookedModel
from interp.results.errors import BadFile, BadInput, ModelMissing


def rebuild(files: ModelFiles) -> HookedModel:
    """The saved model: its architecture by name, its weights from the file.

    Raises BadFile for a recipe that names nothing known, or weights that do not fit it; BadInput for NaN weights.
    """
    recipe = files.recipe
    source = recipe.get("source") if isinstance(recipe, dict) else None
    if source not in SOURCES:
        raise BadFile(f"{files.name}: its recipe is from {source!r}; known are {', '.join(SOURCES)}")
    try:
        model = SOURCES[source](recipe)
    except (ModelMissing, BadFile):
        raise
    except Exception as error:  # a recipe that was tampered with fails anywhere in a library
        raise BadFile(f"{files.name}: damaged, its recipe cannot be followed ({short(error)})") from error
    files.fill(model.module)
    check_weights(model.module)
    model.module.eval()
    model.name, model.recipe, model.tokenizer = files.name, recipe, tokenizer_of(files)
    return model


def _catalog(recipe: dict[str, Any]) -> HookedModel:
    return build(recipe["name"], seed=0, **recipe["sizes"])


def _transformers(recipe: dict[str, Any]) -> HookedModel:
    kind = transformers_class(recipe["class"])
    config = kind.config_class.from_dict(recipe["config"])
    refuse_kernels(config)
    with no_trace():
        return adapters.hook(kind(config))


def _timm(recipe: dict[str, Any]) -> HookedModel:
    arguments = recipe.get("arguments", {})
    for key, value in arguments.items():
        # a text could be the path of a checkpoint, which timm would unpickle
        if isinstance(value, str) and key != "global_pool" or isinstance(value, dict):
            raise BadFile(f"its recipe passes {key}={value!r} to timm, which only load itself may")
    return adapters.hook(timm_module(recipe["architecture"], **arguments | {"pretrained": False}))


SOURCES: dict[str, Callable[[dict], HookedModel]] = {
    "catalog": _catalog, "transformers": _transformers, "timm": _timm,
}


def transformers_class(name: Any) -> Any:
    """A model class of transformers by its name. Raises BadFile for anything else that may be called so."""
    from interp.adapters.transformers import library

    transformers = library()
    kind = getattr(transformers, name, None) if isinstance(name, str) and name.isidentifier() else None
    fits = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    if not fits or not kind.__module__.startswith("transformers."):
        raise BadFile(f"{name!r} is no model class of transformers {transformers.__version__}; nothing else is built")
    return kind


def refuse_kernels(config: Any) -> None:
    """Raise BadFile for a config that would have transformers fetch kernels, which are code, from a hub."""
    for key in ("_attn_implementation", "_experts_implementation"):
        value = getattr(config, key, None)
        if isinstance(value, str) and "/" in value:
            raise BadFile(f"the config asks for kernels from {value!r}, which are code; nothing is executed on loading")


def timm_module(architecture: Any, **arguments: Any) -> nn.Module:
    """A timm model by its plain name, in eval mode. Raises BadInput for a name that timm does not list,
    ModelMissing where timm is not installed or pretrained weights cannot be had."""
    try:
        from interp.adapters.timm import library

        timm = library()
    except ImportError as error:
        raise ModelMissing("timm is not installed; install it with: pip install 'interp[vision]'") from error
    if not isinstance(architecture, str) or not timm.is_model(architecture.split(".")[0]):
        raise BadInput(f"timm has no model {architecture!r}; timm.list_models() shows its names")
    with no_trace():
        torch.manual_seed(0)  # random weights, where they are not pretrained, are always the same
        try:
            return timm.create_model(architecture, **arguments).eval()
        except (OSError, RuntimeError) as error:
            if arguments.get("pretrained"):
                raise ModelMissing(f"pretrained weights of timm/{architecture} cannot be had: {short(error)}. "
                                   "Without them: pretrained=False") from error
            raise BadInput(f"timm cannot build {architecture}: {short(error)}") from error


def tokenizer_of(files: ModelFiles) -> Any:
    """The tokenizer saved beside a model, or None."""
    return None if files.tokenizer is None else read_tokenizer(files.tokenizer)


def read_tokenizer(path: Any, local_files_only: bool = True) -> Any:
    """A tokenizer of transformers from a directory (or a hub id), its code from the library alone.

    Raises BadFile where the directory `tokenizer` of a saved model cannot be read.
    """
    from interp.adapters.transformers import library

    AutoTokenizer = library().AutoTokenizer
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=local_files_only, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BadFile(f"{path}: no {TOKENIZER} that transformers can read ({short(error)})") from error


def short(error: BaseException) -> str:
    """The first line of another library's message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def no_trace() -> Iterator[None]:
    """Other libraries draw initial weights from torch's global state; put it back as it was."""
    with torch.random.fork_rng(devices=[]):
        yield
