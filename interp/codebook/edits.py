"""Changes of codes as ordinary interventions: `with model.edit(books.activate(site, 17, pos=-1)): model(x)`."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from interp.codebook.book import EMPTY, Codebook
from interp.codebook.layout import Layout
from interp.hooks import HookedModel, Site
from interp.hooks.firing import Handler
from interp.hooks.index import Lengths
from interp.results.errors import BadInput

if TYPE_CHECKING:
    from interp.codebook.books import Books

Kind = Literal["activate", "suppress", "replace", "put"]


@dataclass(frozen=True, eq=False)
class Change:
    """One change of the codes at a site: at group `head` (None: all) and at the positions `pos` (None: all)."""

    kind: Kind
    site: str
    code: int | None = None
    new: int | None = None
    ids: Tensor | None = None
    slot: int | Literal["all"] = -1
    refill: bool = False
    head: int | None = None
    pos: Any = None

    def check(self, book: Codebook, layout: Layout) -> None:
        """Raise BadInput for codes, slots or groups that the book does not have."""
        for code in (self.code, self.new):
            if code is not None and not 0 <= code < book.n_codes:
                raise BadInput(f"the book at {self.site!r} has codes 0 to {book.n_codes - 1}; {code} was asked for")
        if self.head is not None and not 0 <= self.head < book.groups:
            raise BadInput(f"the book at {self.site!r} has groups 0 to {book.groups - 1}; {self.head} was asked for")
        if self.slot != "all" and not -book.k <= self.slot < book.k:
            raise BadInput(f"the book at {self.site!r} has slots 0 to {book.k - 1}; {self.slot} was asked for")
        if self.pos is not None and layout.site.pos_axis is None:
            raise BadInput(f"site {self.site!r} has no position axis; leave pos out")

    def apply(
        self, ids: Tensor, target: Tensor, book: Codebook, layout: Layout, value: Tensor, lengths: Lengths | None
    ) -> Tensor:
        """New ids [..., group, k] in place of `ids`, which are left as they are."""
        meant = layout.mask(value, self.pos, lengths)
        if self.head is not None:
            meant = meant & (torch.arange(book.groups, device=ids.device) == self.head)[:, None]
        return torch.where(meant, self._everywhere(ids, target, book), ids)

    def _everywhere(self, ids: Tensor, target: Tensor, book: Codebook) -> Tensor:
        if self.kind == "put":
            try:
                return self.ids.to(ids).expand_as(ids)
            except RuntimeError:
                raise BadInput(f"codes of shape {list(self.ids.shape)} do not fit {self.site!r}, where they are "
                               f"{list(ids.shape)} here") from None
        if self.kind == "replace":
            return ids.where(ids != self.code, self.new)
        if self.kind == "suppress":
            if self.refill:
                # without it, the last of the k is the one that was not among them before
                new = book.search(target, torch.tensor([self.code], device=ids.device))[1][..., -1:]
                return ids.where(ids != self.code, new)
            return ids.where(ids != self.code, EMPTY)
        if self.slot == "all":
            return torch.full_like(ids, self.code)
        there = (ids == self.code).any(-1, keepdim=True)
        changed = ids.clone()
        changed[..., self.slot] = self.code
        return torch.where(there, ids, changed)


@dataclass(frozen=True, eq=False)
class Edited:
    """Books with changes of their codes: an intervention for `model.edit`, to which more changes can be added."""

    books: "Books"
    changes: tuple[Change, ...] = ()

    def handlers(self, model: HookedModel) -> list[tuple[str, Handler]]:
        return self.books.handlers_with(model, self.changes)

    def activate(self, site: str | Site, code: int, *, head: int | None = None, pos: Any = None,
                 slot: int | Literal["all"] = -1) -> "Edited":
        """Put a code in a slot (-1 is the least similar; "all" of them) wherever it is not active already.

        `pos` as in `Patch`: an int, a slice, or one per prompt; None is every position, also while text is generated.
        """
        return self._with(Change("activate", str(site), code, slot=slot, head=head, pos=pos))

    def suppress(self, site: str | Site, code: int, *, refill: bool = False, head: int | None = None,
                 pos: Any = None) -> "Edited":
        """Leave a code out: its slot adds nothing, or with `refill` goes to the next most similar code."""
        return self._with(Change("suppress", str(site), code, refill=refill, head=head, pos=pos))

    def replace(self, site: str | Site, code: int, new: int, *, head: int | None = None, pos: Any = None) -> "Edited":
        """Code `new` wherever `code` is active."""
        return self._with(Change("replace", str(site), code, new, head=head, pos=pos))

    def put(self, site: str | Site, ids: Tensor, *, head: int | None = None, pos: Any = None) -> "Edited":
        """Codes of your own, [batch, pos, group, k] or what broadcasts to it, such as those of another input."""
        self.books.of(site).check_ids(ids)
        return self._with(Change("put", str(site), ids=ids, head=head, pos=pos))

    def _with(self, change: Change) -> "Edited":
        change.check(self.books.of(change.site), self.books.place(change.site).layout)
        return replace(self, changes=(*self.changes, change))
