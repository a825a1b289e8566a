"""`Entry`: one member of the catalog: what it is called, where it comes from, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from interp.hooks.model import HookedModel, Inputs
from interp.parts.describe import equations
from interp.parts.model import build_model
from interp.parts.sitemap import hook
from interp.parts.spec import SIZES, Spec


def token_ids(model: HookedModel, *, batch: int = 2, n_pos: int = 7, seed: int = 0) -> Inputs:
    """Random prompts for a model that reads token ids, [batch, pos]."""
    return torch.randint(0, model.map.d_vocab, (batch, n_pos), generator=torch.Generator().manual_seed(seed))


def images(model: HookedModel, *, batch: int = 2, seed: int = 0, **_) -> Inputs:
    """Random images, [batch, channels, side, side], for a model that has its side as `image` and `embed` them."""
    module = model.module
    shape = (batch, module.embed.in_channels, module.image, module.image)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A named architecture. `paper` is its number in `seeds.tsv`, None for what is none of these papers.

    `make(seed=..., **sizes)` gives the hooked model; `sizes` are the defaults of every size it takes;
    `equations(model)` the rows (equation, sites) of its forward pass; `example(model, batch=, n_pos=, seed=)` a random
    input of the kind it takes.
    """

    name: str
    title: str
    family: str
    kind: str
    citation: str
    make: Callable[..., HookedModel]
    sizes: dict[str, int | None] = field(default_factory=dict)
    equations: Callable[[HookedModel], list[tuple[str, str]]] = lambda model: equations(model.module)
    example: Callable[..., Inputs] = token_ids
    paper: int | None = None


def member(name: str, title: str, spec: Spec, *, family: str, citation: str, kind: str = "language model",
           paper: int | None = None) -> Entry:
    """The entry of a `Spec`: sizes are its own fields."""
    sizes = {size: getattr(spec, size) for size in SIZES}

    def make(*, seed: int, **given: int | None) -> HookedModel:
        recipe = {"source": "catalog", "name": name, "sizes": sizes | given}
        return hook(build_model(replace(spec, **given), seed), name=name, recipe=recipe)

    return Entry(name=name, title=title, family=family, kind=kind, citation=citation, make=make, sizes=sizes,
                 paper=paper)


def sized(name: str, title: str, sizes: dict[str, int | None], spec: Callable[..., Spec], *, family: str, citation: str,
          kind: str = "language model", paper: int | None = None) -> Entry:
    """The entry of a family whose sizes are its own: `spec(**sizes)` makes one of them a `Spec`."""

    def make(*, seed: int, **given: int | None) -> HookedModel:
        recipe = {"source": "catalog", "name": name, "sizes": sizes | given}
        return hook(build_model(spec(**sizes | given), seed), name=name, recipe=recipe)

    return Entry(name=name, title=title, family=family, kind=kind, citation=citation, make=make, sizes=sizes,
                 paper=paper)
