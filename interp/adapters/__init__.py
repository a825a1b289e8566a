"""Adapters: other libraries' models as `HookedModel`s, by tables of sites. No model is subclassed or copied."""

from collections.abc import Mapping

from torch import nn

from interp.adapters.weights import check_weights
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput

__all__ = ["At", "hook"]


def __getattr__(name: str):
    if name == "At":
        from interp.adapters.torch import At

        return At
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def hook(
    module: nn.Module, sites: Mapping | None = None, *, name: str = "", tokenizer=None, **declarations
) -> HookedModel:
    """Wrap an already constructed module: one of `transformers`, timm or TransformerLens, or your own with its
    `sites`.

    `declarations` go with `sites` (see `interp.adapters.torch.hook`) or, for a TransformerBridge, `example`.
    The module stays as it is. Raises BadInput for something that is no module, for weights that hold NaN or
    Inf, for a family without a site map, and for a module of your own without `sites`.
    """
    if isinstance(module, HookedModel):
        raise BadInput(f"{module.name} is hooked already; use it as it is, or hook its .module")
    if not isinstance(module, nn.Module):
        raise BadInput(f"a {type(module).__name__} cannot be hooked; give a torch.nn.Module "
                       '(interp.load("name") gets one by its name)')
    check_weights(module)
    if sites is not None:
        from interp.adapters.torch import hook as own

        return own(module, sites, name=name, tokenizer=tokenizer, **declarations)
    wrap, options = _back_end(module)
    if unknown := set(declarations) - options:
        raise BadInput(f"{sorted(unknown)[0]!r} goes with sites={{...}}; {type(module).__name__} has its own map")
    return wrap(module, name=name, tokenizer=tokenizer, **declarations)


def _back_end(module: nn.Module):
    """The adapter for a module, told by its class, and the options it takes. Libraries are not imported to ask."""
    homes = {kind.__module__.partition(".")[0] for kind in type(module).__mro__}
    classes = {kind.__name__ for kind in type(module).__mro__}
    if "TransformerBridge" in classes and "transformer_lens" in homes:
        from interp.adapters.lens import hook as wrap

        return wrap, {"example"}
    if "PreTrainedModel" in classes and "transformers" in homes:
        from interp.adapters.transformers import hook as wrap

        return wrap, set()
    if "timm" in homes:
        from interp.adapters.timm import hook as wrap

        return wrap, set()
    raise BadInput(f"{type(module).__name__} is no transformers, timm or TransformerLens model; say where its "
                   'sites are: interp.hook(module, sites={"blocks.{d}.hook_resid_post": "layers.{d}", ...})')
