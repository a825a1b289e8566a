"""Models that hold smaller models.

    matformer    GPT whose MLPs run on their first eighth, quarter, half or all units       (granularity 1, 2, 3, 4)
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from interp.architectures.entry import Entry, sized
from interp.architectures.gpt import ATTN, GPT, MLP
from interp.hooks.model import HookedModel
from interp.parts.nested import GRANULARITIES, NestedMlp
from interp.parts.sitemap import hook
from interp.parts.spec import SIZES, Spec
from interp.results.errors import BadInput

_SIZES = {size: getattr(GPT, size) for size in SIZES} | {"granularity": 4}


def matformer(granularity: int, **sizes: int | None) -> Spec:
    """The spec with one granularity at every depth."""
    def nested(spec: Spec) -> NestedMlp:
        return NestedMlp.of(spec, granularity=granularity)

    return replace(GPT, block=(ATTN, replace(MLP, op=nested)), **sizes)


def set_granularity(model: HookedModel, granularity: int | Sequence[int]) -> HookedModel:
    """The same model with one granularity, or one of each depth (mix-n-match), from now on.

    Raises BadInput for a model without nested MLPs, or a number that does not fit.
    """
    nested = [part for part in model.module.modules() if isinstance(part, NestedMlp)]
    chosen = [granularity] * len(nested) if isinstance(granularity, int) else list(granularity)
    if not nested:
        raise BadInput(f"{model.name} has no nested MLPs; build('matformer') has")
    if len(chosen) != len(nested) or set(chosen) - set(GRANULARITIES):
        raise BadInput(f"granularities {chosen} do not fit {len(nested)} depths, each of {GRANULARITIES}")
    for part, one in zip(nested, chosen):
        part.granularity = one
    return model


def extract(model: HookedModel, granularity: int | Sequence[int]) -> HookedModel:
    """A plain GPT with the sliced weights, of one granularity or one of each depth. Raises as `set_granularity`."""
    module = set_granularity(hook(deepcopy(model.module), name=model.name), granularity).module
    for block in module.blocks:
        block.mlp = block.mlp.sliced()
    return hook(module, name=model.name, tokenizer=model.tokenizer)


MEMBERS: tuple[Entry, ...] = (
    sized("matformer", "GPT whose MLPs are nested", _SIZES, matformer, family="elastic", paper=85,
          citation="Devvrit et al. 2023, MatFormer, arXiv 2310.07707"),
)
