"""Any `transformers` model as a `HookedModel`: the family table, and building from a config."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from torch import nn

from interp.adapters import encoders, language, ssm, vision
from interp.adapters._torchvision import mend
from interp.hooks.model import HookedModel
from interp.hooks.roles import Activation
from interp.hooks.sitemap import SiteMap
from interp.hooks.tap import Output, Tap
from interp.results.errors import BadInput, nearest

FAMILIES: dict[str, Callable[..., SiteMap]] = {
    "gpt2": language.gpt2,
    **dict.fromkeys(("llama", "mistral", "qwen2"), language.llama),
    "gemma2": language.gemma2,
    "olmo2": language.olmo2,
    "gpt_neox": language.gpt_neox,
    "bert": language.bert,
    "roberta": encoders.roberta,
    "electra": encoders.electra,
    "distilbert": encoders.distilbert,
    "albert": language.albert,
    "t5": language.t5,
    "mamba": ssm.mamba,
    "mamba2": ssm.mamba2,
    "nemotron_h": ssm.nemotron_h,
    "vit": vision.vit,
    "dinov2": vision.dinov2,
    "clip_vision_model": encoders.clip_vision,
    "swin": vision.swin,
    "convnext": vision.convnext,
    "poolformer": vision.poolformer,
}

# what pools the features of a model without a head, where it is not called `pooler`
POOLED = {"convnext": "layernorm", "clip_vision_model": "post_layernorm"}


def library() -> ModuleType:
    """transformers itself, with its model classes importable beside any build of torch."""
    mend()
    return import_module("transformers")


def site_map(module: nn.Module) -> SiteMap:
    """The site map of a `transformers` model, paths relative to `module` (with or without a head).

    Raises BadInput for a family without one, naming those that have.
    """
    kind = module.config.model_type
    if kind not in FAMILIES:
        raise BadInput(
            f"transformers family {kind!r} has no site map.{nearest(kind, FAMILIES)} There are: {', '.join(FAMILIES)}. "
            "Give your own: interp.hook(module, sites={...})"
        )
    prefix = module.base_model_prefix if hasattr(module, module.base_model_prefix) else ""
    base = getattr(module, prefix) if prefix else module
    m = FAMILIES[kind](base, base.config).within(prefix)
    for path, part in module.named_modules():  # activations of heads as well, which no family's map lists
        if type(part).__module__ == "transformers.activations":
            m.roles.setdefault(path, Activation())
    m.add("output", Tap("", view=Output()))
    behind = getattr(module, POOLED.get(kind, "pooler"), None) if base is module else None
    if behind is not None and list(behind.parameters()):
        m.unused_parameters[POOLED.get(kind, "pooler")] = "it reads the features, which are the output"
    head = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
    if head is not None:
        m.unembed = next(path for path, part in module.named_modules() if part is head)
    return m


def hook(module: nn.Module, *, name: str = "", tokenizer=None) -> HookedModel:
    """Wrap an already constructed `transformers` model. The module stays as it is."""
    recipe = {"source": "transformers", "class": type(module).__name__, "config": module.config.to_dict()}
    return HookedModel(
        module, site_map(module), name=name or module.config.model_type, recipe=recipe, tokenizer=tokenizer
    )
