"""`Entry`: one member of the catalog: what it is called, where it comes from, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from interp.hooks.model import HookedModel
from interp.parts.describe import equations
from interp.parts.model import build_model
from interp.parts.sitemap import hook
from interp.parts.spec import SIZES, Spec


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A named architecture. `paper` is its number in `seeds.tsv`, None for what is none of these papers.

    `make(seed=..., **sizes)` gives the hooked model; `sizes` are the defaults of every size it takes;
    `equations(model)` the rows (equation, sites) of its forward pass.
    """

    name: str
    title: str
    family: str
    kind: str
    citation: str
    make: Callable[..., HookedModel]
    sizes: dict[str, int | None] = field(default_factory=dict)
    equations: Callable[[HookedModel], list[tuple[str, str]]] = lambda model: equations(model.module)
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
