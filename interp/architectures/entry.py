"""`Entry`: one member of the catalog: what it is called, where it comes from, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from interp.hooks.model import HookedModel, Inputs
from interp.parts.describe import equations
from interp.parts.model import Model, build_model
from interp.parts.real_model import REALS, RealModel, hook_reals, real_sizes
from interp.parts.sitemap import hook
from interp.parts.spec import SIZES, Spec


def token_ids(model: HookedModel, *, batch: int = 2, n_pos: int = 7, seed: int = 0) -> Inputs:
    """Random prompts for a model that reads token ids, [batch, pos], or numbers, [batch, pos, d_input]."""
    if (width := getattr(model.module, "d_input", None)) is not None:
        return torch.randn(batch, n_pos, width, generator=torch.Generator().manual_seed(seed))
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
           paper: int | None = None, numbers: bool = True) -> Entry:
    """The entry of a `Spec`: sizes are its own fields, and `d_input` and `d_output` for a model of numbers."""
    sizes = {size: getattr(spec, size) for size in SIZES}
    return sized(name, title, sizes, lambda **given: replace(spec, **given), family=family, citation=citation,
                 kind=kind, paper=paper, numbers=numbers)


def sized(name: str, title: str, sizes: dict[str, int | None], spec: Callable[..., Spec], *, family: str, citation: str,
          kind: str = "language model", paper: int | None = None, numbers: bool = True) -> Entry:
    """The entry of a family whose sizes are its own: `spec(**sizes)` makes one of them a `Spec`; `numbers` is False for
    blocks that need to know what each token is."""
    sizes = sizes | (dict.fromkeys(REALS) if numbers else {})

    def make(*, seed: int, **given: int | None) -> HookedModel:
        chosen = sizes | given
        recipe = {"source": "catalog", "name": name, "sizes": chosen}
        made = spec(**{size: value for size, value in chosen.items() if size not in REALS})
        return of_spec(made, real_sizes(chosen), seed, name=name, recipe=recipe)

    return Entry(name=name, title=title, family=family, kind=kind, citation=citation, make=make, sizes=sizes,
                 paper=paper)


def of_spec(spec: Spec, reals: tuple[int, int] | None, seed: int, *, name: str, recipe: dict,
            change: Callable[[Model], Model] = lambda model: model) -> HookedModel:
    """A hooked model of `spec`, changed by `change`, with weights from the seed; a model of numbers, with a head of its
    own, where `reals` says their widths."""
    if reals is None:
        return hook(build_model(spec, seed, lambda spec: change(Model(spec))), name=name, recipe=recipe)
    spec = replace(spec, tied=tuple(tie for tie in spec.tied if tie != "head"))
    module = build_model(spec, seed, lambda spec: change(RealModel(spec, *reals)))
    return hook_reals(module, name=name, recipe=recipe)
