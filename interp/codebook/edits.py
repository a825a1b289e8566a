"""Changes of codes as ordinary interventions: `with model.edit(books.activate(site, 17, pos=-1)): model(x)`."""

from collections.abc import Sequence
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
            if code is not None and not (isinstance(code, int) and 0 <= code < book.n_codes):
                raise BadInput(f"the book at {self.site!r} has codes 0 to {book.n_codes - 1}; {code} was asked for")
        if self.head is not None and not 0 <= self.head < book.groups:
            raise BadInput(f"the book at {self.site!r} has groups 0 to {book.groups - 1}; {self.head} was asked for")
        if self.slot != "all" and not (isinstance(self.slot, int) and -book.k <= self.slot < book.k):
            raise BadInput(f"the book at {self.site!r} has slots 0 to {book.k - 1}, or 'all' of them; {self.slot!r} "
                           "was asked for")
        if self.pos is not None and layout.site.pos_axis is None:
            raise BadInput(f"site {self.site!r} has no position axis; leave pos out")

    def meant(self, book: Codebook, layout: Layout, value: Tensor, lengths: Lengths | None) -> Tensor:
        """Boolean [..., group, 1]: where this change is asked for."""
        where = layout.mask(value, self.pos, lengths)
        if self.head is not None:
            where = where & (torch.arange(book.groups, device=where.device) == self.head)[:, None]
        return where


def changed(
    changes: Sequence[Change], ids: Tensor, target: Tensor, book: Codebook, layout: Layout, value: Tensor,
    lengths: Lengths | None,
) -> Tensor:
    """New ids [..., group, k] in place of `ids`, which are left as they are, after all changes of one site in turn.

    A slot that one change gave its code is not given to another code by the next, and a code that was suppressed is
    not what another is exchanged for. Raises BadInput where more codes are to be active than there are slots, and where
    all codes that could fill a slot are suppressed.
    """
    ids, held = ids.clone(), torch.zeros_like(ids, dtype=torch.bool)
    gone: list[tuple[Tensor, int]] = []
    for change in changes:
        groups = slice(None) if change.head is None else slice(change.head, change.head + 1)
        everywhere = change.meant(book, layout, value, lengths).expand(*ids.shape[:-1], 1)
        where, own = everywhere[..., groups, :], ids[..., groups, :]
        if change.kind == "put":
            new = _given(change, ids)[..., groups, :]
        elif change.kind == "replace":
            new = own.where(own != change.code, change.new)
        elif change.kind == "suppress":
            gone.append((everywhere, change.code))
            fill = _next_best(change, gone, ids, target, book)[..., groups, :] if change.refill else EMPTY
            new = own.where(own != change.code, fill)
        else:
            taken = _slots(change, own, held[..., groups, :], where)
            new = own.where(~taken, change.code)
            held[..., groups, :] |= where & (new == change.code)
        ids[..., groups, :] = torch.where(where, new, own)
    return ids


def _given(change: Change, ids: Tensor) -> Tensor:
    try:
        return change.ids.to(ids).expand_as(ids)
    except RuntimeError:
        raise BadInput(f"codes of shape {list(change.ids.shape)} do not fit those here, {list(ids.shape)}") from None


def _next_best(
    change: Change, gone: Sequence[tuple[Tensor, int]], ids: Tensor, target: Tensor, book: Codebook
) -> Tensor:
    """[..., group, 1]: the most similar code that is neither active nor suppressed."""
    found = book.search(target, k=min(book.n_codes, book.k + len(gone)))[1]
    free = ~(found[..., :, None] == ids[..., None, :]).any(-1)
    for where, code in gone:
        free = free & ~(where & (found == code))
    if (gone[-1][0] & (ids == change.code) & ~free.any(-1, keepdim=True)).any():
        raise BadInput(f"so many of {book.n_codes} codes are suppressed that none is left for a slot")
    return found.gather(-1, free.to(torch.uint8).argmax(-1, keepdim=True))


def _slots(change: Change, ids: Tensor, held: Tensor, where: Tensor) -> Tensor:
    """Boolean as ids: the slots that an activation takes. One that is held already goes on to the next free one, the
    least similar first."""
    missing = ~(ids == change.code).any(-1, keepdim=True)
    if change.slot == "all":
        taken, full = (ids != change.code).expand_as(ids), held & (ids != change.code)
    else:
        k = ids.shape[-1]
        order = torch.arange(k - 1, -1, -1, device=ids.device)
        order = torch.cat([order[order == change.slot % k], order[order != change.slot % k]])
        free = ~held[..., order]
        first = order[free.to(torch.uint8).argmax(-1, keepdim=True)]
        taken = missing & (torch.arange(k, device=ids.device) == first)
        full = missing & ~free.any(-1, keepdim=True)
    if (where & full).any():
        raise BadInput(f"more codes of one group are to be active than it has slots, {ids.shape[-1]}")
    return taken


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
        A slot that an activation before this one holds is left to it, and the least similar free one is taken.
        """
        return self._with(Change("activate", str(site), code, slot=slot, head=head, pos=pos))

    def suppress(self, site: str | Site, code: int, *, refill: bool = False, head: int | None = None,
                 pos: Any = None) -> "Edited":
        """Leave a code out: its slot adds nothing, or with `refill` goes to the most similar code that is neither
        active nor suppressed before."""
        return self._with(Change("suppress", str(site), code, refill=refill, head=head, pos=pos))

    def replace(self, site: str | Site, code: int, new: int, *, head: int | None = None, pos: Any = None) -> "Edited":
        """Code `new` wherever `code` is active; where `new` is active too, it then counts twice."""
        return self._with(Change("replace", str(site), code, new, head=head, pos=pos))

    def put(self, site: str | Site, ids: Tensor, *, head: int | None = None, pos: Any = None) -> "Edited":
        """Codes of your own, [batch, pos, group, k] or what broadcasts to it, such as those of another input."""
        if not isinstance(ids, Tensor):
            raise BadInput(f"codes to put at {site} are a tensor [batch, pos, group, k], not a {type(ids).__name__}")
        self.books.of(site).check_ids(ids)
        return self._with(Change("put", str(site), ids=ids, head=head, pos=pos))

    def _with(self, change: Change) -> "Edited":
        change.check(self.books.of(change.site), self.books.place(change.site).layout)
        return replace(self, changes=(*self.changes, change))
