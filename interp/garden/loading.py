"""`load`: a model by its name or its place: the garden, real models, saved directories, transformers, timm."""

import os
from pathlib import Path
from typing import Any

import torch

from interp import adapters
from interp.garden.rebuild import (
    no_trace,
    read_tokenizer,
    rebuild,
    refuse_kernels,
    short,
    timm_module,
    transformers_class,
)
from interp.garden.recipes.compared import RATES
from interp.hooks.files import FACTS, read_model_files
from interp.hooks.model import HookedModel
from interp.results.errors import BadFile, BadInput, ModelMissing, nearest
from interp.results.files import read_json

GARDEN = Path(__file__).parent


def garden_names() -> list[str]:
    """The trained models that ship, as `load` takes them."""
    return sorted(f"garden/{path.parent.name}" for path in GARDEN.glob(f"*/{FACTS}"))


def garden_groups() -> dict[str, list[str]]:
    """The same, folded: {what to show: names}. The models of one comparison are a group, "garden/recall-NAME"; every
    other model stands alone."""
    found: dict[str, list[str]] = {}
    for name in garden_names():
        task = next((task for task in RATES if name in {f"garden/{task}-{a}" for a in RATES[task]}), None)
        found.setdefault(name if task is None else f"garden/{task}-NAME", []).append(name)
    return found


def load(name: str | Path, **options: Any) -> HookedModel:
    """A model in eval mode.

    `name` is one of the garden ("garden/induction-2l"), a real model ("smollm2-135m"), a directory that `model.save`
    wrote, a local Hugging Face directory (config.json and safetensors), "timm/NAME" (`options` are timm's, as
    pretrained=False), or a Hugging Face id where the network is there. Random state is left as it was.
    Raises ModelMissing, with what brings the model, BadFile for damaged or foreign files, BadInput for what is
    no name, NaN weights or options that nothing takes.
    """
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise BadInput(f"{name!r} is no model; give a name ({', '.join([*garden_groups(), *_real_names()])}), the "
                       "folder of one, a Hugging Face id or timm/NAME")
    text = os.fspath(name)
    if text.startswith("timm/"):
        return _timm(text.removeprefix("timm/"), options)
    if options:
        raise BadInput(f"{next(iter(options))!r} is an option of timm models only, and {text!r} is none")
    if text.startswith("garden/"):
        return _garden(text)
    if text in _real_names():
        return _real(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return _directory(path)
    if path.exists():
        raise BadFile(f"{text} is a file; give the directory that holds {FACTS} or config.json")
    return _hub(text)


def _garden(name: str) -> HookedModel:
    if name not in garden_names():
        bare = name.removeprefix("garden/")
        hint = f" {bare!r} alone is a model." if bare in _real_names() else nearest(name, garden_names())
        raise ModelMissing(f"{name!r} does not grow here.{hint} "
                           f"There are: {', '.join(garden_groups())}")
    return rebuild(read_model_files(GARDEN / name.removeprefix("garden/")))


def _real_names() -> list[str]:
    from interp.garden.fetch import REAL_MODELS

    return list(REAL_MODELS)


def _real(name: str) -> HookedModel:
    from interp.garden.fetch import load_real

    module, tokenizer = load_real(name)
    return adapters.hook(module, name=name, tokenizer=tokenizer)


def _timm(name: str, options: dict[str, Any]) -> HookedModel:
    model = adapters.hook(timm_module(name, **options), name=f"timm/{name}")
    arguments = {key: value for key, value in options.items() if key != "pretrained"}
    model.recipe = {"source": "timm", "architecture": name, "arguments": arguments}
    return model


def _directory(path: Path) -> HookedModel:
    if (path / FACTS).exists():
        return rebuild(read_model_files(path))
    if (path / "config.json").exists():
        return _from_transformers(path, path.name, local_files_only=True)
    raise BadFile(f"{path} holds neither {FACTS} (a model saved by interp) nor config.json (a Hugging Face model)")


def _hub(name: str) -> HookedModel:
    """A Hugging Face id: from its cache on this machine, else from the network."""
    names, shown = [*garden_names(), *_real_names()], ", ".join([*garden_groups(), *_real_names()])
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or " " in name:
        raise ModelMissing(f"there is no directory {name!r}. Models by name: {shown}")
    cached = _is_cached(name)
    if not cached and (reason := _unreachable(name)):
        raise ModelMissing(f"no model {name!r}.{nearest(name, names)} It is none of {shown}, no directory, "
                           f"and as a Hugging Face id it cannot be had: {reason}")
    return _from_transformers(name, name, local_files_only=cached)


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str)


def _unreachable(name: str) -> str:
    """Why the Hugging Face hub does not give `name`; "" where it does. One quick question, without retries."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(name, timeout=10)
    except Exception as error:  # no network, offline mode, no such repository, a gated one: each its own kind
        return f"{type(error).__name__}: {short(error)}"
    return ""


def _from_transformers(place: Path | str, name: str, *, local_files_only: bool) -> HookedModel:
    """A model in the Hugging Face format: classes of transformers only, safetensors only, every weight present."""
    config = _config(place, local_files_only)
    if not config.architectures:
        raise BadFile(f"{name}: its config.json does not say which model class it is (no \"architectures\")")
    kind = transformers_class(config.architectures[0])
    refuse_kernels(config)
    try:
        with no_trace():
            module, report = kind.from_pretrained(
                place, local_files_only=local_files_only, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # transformers, safetensors and torch each have their own
        raise BadFile(f"{name}: its weights cannot be read as {kind.__name__} from safetensors "
                      f"({short(error)})") from error
    if report["missing_keys"]:
        raise BadFile(f"{name}: its weights lack {sorted(report['missing_keys'])[0]!r} "
                      f"and {len(report['missing_keys']) - 1} more of {kind.__name__}")
    try:
        tokenizer = read_tokenizer(place, local_files_only)
    except BadFile:
        tokenizer = None  # vision models, and directories without one
    return adapters.hook(module.eval(), name=name, tokenizer=tokenizer)


def _config(place: Path | str, local_files_only: bool) -> Any:
    from interp.adapters.transformers import library

    AutoConfig = library().AutoConfig
    if isinstance(place, Path):
        read_json(place / "config.json")
    try:
        return AutoConfig.from_pretrained(place, local_files_only=local_files_only, trust_remote_code=False)
    except Exception as error:  # a model type it does not know, a wrong entry, remote code asked for
        raise BadFile(f"{place}: its config.json is not of a model that transformers knows ({short(error)})") from error
