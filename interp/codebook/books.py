"""`attach`: codebooks at sites of any hooked model. The books act inside `with model.edit(books)`, never elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp.codebook.book import Codebook, Snap
from interp.codebook.edits import Change, Edited, changed
from interp.codebook.layout import Layout
from interp.hooks import HookedModel, Site
from interp.hooks.baselines import rows as rows_of
from interp.hooks.firing import Handler
from interp.hooks.model import Inputs, Names
from interp.results.errors import BadInput, MissingSite, nearest
from interp.results.progress import progress

if TYPE_CHECKING:
    from interp.codebook.search import Found, TokenCodes
    from interp.codebook.train import Training

Seen = Callable[[Site, Codebook, Snap, Tensor | None], None]


class Placed(NamedTuple):
    """Where a book stands: which one it is, which visit of a shared module, and how the site is seen as vectors."""

    book: str
    visit: int
    layout: Layout


class Books:
    """A model with codebooks. Itself an intervention: `with model.edit(books): ...`; `books(x)` is short for that.

    `of(site)` is the book at a site; a module that is applied several times has one book, whose `uses` are counted
    per visit. Nothing is set on the model, so outside the `with` it is as it was; `detach` undoes training, too. Books
    given to two `edit`s, one in the other, act twice.
    """

    def __init__(self, model: HookedModel, books: dict[str, Codebook], places: dict[str, Placed]):
        order = list(model.map.sites)
        self.model, self.places = model, dict(sorted(places.items(), key=lambda item: order.index(item[0])))
        self.table = nn.ModuleDict({name.replace(".", "/"): book for name, book in books.items()}).eval()

    @property
    def weights(self) -> dict[str, Tensor] | None:
        """The model's own weights, from before it was trained with books, these or others; None where it was not."""
        return self.model.weights_before

    @property
    def sites(self) -> list[str]:
        """The sites with books, in execution order."""
        return list(self.places)

    def place(self, site: str | Site) -> Placed:
        """Raises MissingSite, naming the nearest, for a site without a book."""
        if str(site) not in self.places:
            raise MissingSite(f"there is no codebook at {str(site)!r}.{nearest(str(site), self.places)} There are "
                              f"books at: {', '.join(self.places)}")
        return self.places[str(site)]

    def of(self, site: str | Site) -> Codebook:
        """The book at a site. Raises MissingSite."""
        return self.table[self.place(site).book.replace(".", "/")]

    # -- running -------------------------------------------------------------------------------------------------

    def __call__(self, x: Inputs) -> Tensor:
        """The model's main output with all books in."""
        with self.model.edit(self):
            return self.model(x)

    def handlers(self, model: HookedModel) -> list[tuple[str, Handler]]:
        return self.handlers_with(model, ())

    def handlers_with(
        self, model: HookedModel, changes: Sequence[Change], seen: Seen | None = None
    ) -> list[tuple[str, Handler]]:
        """As `handlers`, with changes of codes, and `seen(site, book, snap, real)` called after every pass."""
        if model is not self.model:
            raise BadInput(f"these books belong to {self.model.name}, not to {model.name}: attach books to it")

        def handler(value: Tensor, site: Site) -> Tensor:
            placed, book = self.places[site.name], self.of(site)
            own = [c for c in changes if c.site == site.name]

            def change(ids: Tensor, target: Tensor) -> Tensor:
                return changed(own, ids, target, book, placed.layout, value, model.lengths_now)

            real = placed.layout.real(value, model.lengths_now)
            vectors = placed.layout.vectors(value)
            try:
                snap = book.snap(vectors, change=change if own else None, visit=placed.visit, real=real)
            except BadInput as error:
                raise BadInput(f"at {site.name!r}: {error}") from error
            if seen is not None:
                seen(site, book, snap, real)
            return placed.layout.value(snap.out)

        return [(name, handler) for name in self.places]

    @torch.no_grad()
    def codes(self, x: Inputs, *, rows: int = 32) -> dict[str, Int[Tensor, "batch pos group k"]]:
        """{site: the chosen codes, best first}, with all books in. `rows` are run at once.

        Sites with more axes keep them between position and group; those of windows have windows as rows.
        """
        parts = [self.read_codes(part) for part in self.chunks(x, rows, "reading codes")]
        if not parts:
            raise BadInput("an empty batch was given: there is nothing to read codes of")
        return {name: torch.cat([part[name] for part in parts]) for name in self.places}

    @torch.no_grad()
    def read_codes(self, x: Inputs) -> dict[str, Int[Tensor, "batch pos group k"]]:
        """As `codes`, all rows at once."""
        found: dict[str, Tensor] = {}
        with self.model.edit(Watched(self, lambda site, book, snap, real: found.update({site.name: snap.ids}))):
            self.model(x)
        return found

    def chunks(self, x: Inputs, rows: int, what: str):
        """Parts of an input of `rows` rows, with progress."""
        n = self.model.batch_of(x)[0]
        for start in progress(range(0, n, rows), what):
            yield rows_of(x, slice(start, start + rows))

    # -- changes, as interventions -------------------------------------------------------------------------------

    def activate(self, site: str | Site, code: int, **where: Any) -> Edited:
        """All books, with a code active: see `Edited.activate`."""
        return Edited(self).activate(site, code, **where)

    def suppress(self, site: str | Site, code: int, **where: Any) -> Edited:
        """All books, without a code: see `Edited.suppress`."""
        return Edited(self).suppress(site, code, **where)

    def replace(self, site: str | Site, code: int, new: int, **where: Any) -> Edited:
        """All books, with one code for another: see `Edited.replace`."""
        return Edited(self).replace(site, code, new, **where)

    def put(self, site: str | Site, ids: Tensor, **where: Any) -> Edited:
        """All books, with given codes: see `Edited.put`."""
        return Edited(self).put(site, ids, **where)

    # -- parts with files of their own ---------------------------------------------------------------------------

    def train(self, data: Any, **settings: Any) -> "Training":
        """Train the books, and the model with them where `model_rate` is given: `interp.codebook.train.train`."""
        from interp.codebook.train import train

        return train(self, data, **settings)

    def search(self, pattern: str, data: "TokenCodes | Sequence[str]", **settings: Any) -> "Found":
        """Codes that act as a regular expression does: `interp.codebook.search.TokenCodes.search`."""
        from interp.codebook.search import TokenCodes

        found = data.check(self) if isinstance(data, TokenCodes) else TokenCodes.of(self, data)
        return found.search(pattern, **settings)

    def save(self, path: Any) -> Any:
        """Write `codebooks.safetensors` and `codebooks.json` to a folder; `interp.codebook.load` reads them."""
        from interp.codebook.files import save

        return save(self, path)

    def detach(self) -> HookedModel:
        """The model as it was before it was trained with books, these or others, bit for bit."""
        if self.weights is not None:
            restore(self.model.module, self.weights)
            self.model.weights_before = None
        return self.model

    @contextmanager
    def untrained(self) -> Iterator[HookedModel]:
        """The model with its own weights for the length of a `with`, whatever it was trained to with books."""
        now = None if self.weights is None else keep(self.model.module)
        try:
            if now is not None:
                restore(self.model.module, self.weights)
            yield self.model
        finally:
            if now is not None:
                restore(self.model.module, now)

    def __repr__(self) -> str:
        first = next(iter(self.table.values()))
        return (f"Books({self.model.name}: {len(self.places)} sites, {len(self.table)} books, {first.n_codes} codes, "
                f"k={first.k})")


class Watched:
    """Books whose passes are seen by a function."""

    def __init__(self, books: Books, seen: Seen, changes: Sequence[Change] = ()):
        self.books, self.seen, self.changes = books, seen, changes

    def handlers(self, model: HookedModel) -> list[tuple[str, Handler]]:
        return self.books.handlers_with(model, self.changes, self.seen)


def attach(
    model: HookedModel, sites: Names, *, n_codes: int = 1024, k: int = 8, groups: int | None = None,
    init: Literal["normal", "kmeans"] = "normal", example: Inputs | None = None, seed: int = 0, **settings: Any,
) -> Books:
    """Codebooks at the sites that `sites` selects: one per head (expert) where a site has them, else one, or `groups`
    that share the channels out. `settings` are those of `Codebook`: similarity, reduction, pre_norm.

    Codes start at N(0, 1), or with init="kmeans" at the centres of what `example` gives there. `example`, an input of
    the model, also says how wide a site is; models of tokens need none for that. Codes are float32, or float64 as the
    model is: they are learned in steps that half precision rounds away.
    Raises MissingSite for a site without a feature axis, BadInput for settings that a book does not take.
    """
    chosen = model.sites(sites)
    if not chosen:
        raise BadInput("no site was named: give names, or a wildcard such as blocks.*.attn.hook_z")
    layouts = {site.name: Layout.of(site, groups) for site in chosen}
    if init not in ("normal", "kmeans") or (init == "kmeans" and example is None):
        raise BadInput(f"init={init!r}: give 'normal', or 'kmeans' together with an example input to take centres of")
    example = _tokens(model) if example is None else example
    values = {name: layouts[name].vectors(value) for name, value in model.read(example, list(layouts)).items()}
    books, places, owners = {}, {}, {}
    for site in chosen:
        name = owners.setdefault((model.map.sites[site.name][1], site.kind), site.name)
        same = sum(placed.book == name for placed in places.values())
        places[site.name] = Placed(name, same, layouts[site.name])
    for number, name in enumerate(dict.fromkeys(owners.values())):
        members = [site for site, placed in places.items() if placed.book == name]
        width, d = values[name].shape[-2:]
        settings |= {"k": k, "visits": len(members)}
        books[name] = Codebook.random(n_codes, d, groups=width, seed=seed + number, **settings)
        books[name].to(device=model.device, dtype=precision(model))
        if init == "kmeans":
            seen = [real_vectors(model, layouts[site], values[site], example) for site in members]
            books[name].fit(torch.cat(seen), seed=seed + number)
    return Books(model, books, places)


def precision(model: HookedModel) -> torch.dtype:
    """Of the codes of a model's books."""
    return torch.promote_types(model.dtype, torch.float32)


def real_vectors(model: HookedModel, layout: Layout, vectors: Tensor, x: Inputs) -> Tensor:
    """[token, group, d] without padding."""
    flat = vectors.flatten(0, -3)
    real = layout.real(layout.value(vectors), model.lengths(x))
    return flat if real is None else flat[real.expand(*vectors.shape[:-1], 1)[..., 0, 0].flatten()]


def _tokens(model: HookedModel) -> Tensor:
    if model.map.d_vocab is None or model.map.input_name not in (None, "input_ids"):
        raise BadInput(f"{model.name} does not take token ids: give attach(..., example=x) an input, which says how "
                       "wide the sites are")
    return torch.zeros(1, min(2, model.map.n_ctx or 2), dtype=torch.long, device=model.device)


def keep(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, those that are not saved included."""
    return {name: value.detach().clone() for name, value in (*module.named_parameters(), *module.named_buffers())}


@torch.no_grad()
def restore(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put a copy made by `keep` back."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        value.copy_(weights[name])
