"""Which codes write which code: contextual decomposition with codes as sources and as targets.

A source is a code wherever it is active: taking it away takes its vector out of what its book gives. A target is the
similarity that another book, further on, sees to one of its codes. Rules are those of `interp.decompose`; books between
the two cannot be decomposed, since a choice has no parts, so they are either `held` (each gives the codes it gave: only
what passes by it counts) or taken `straight` (what enters a book leaves it, plus a constant: as in its gradient).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from interp.codebook.book import EMPTY, EPSILON, Codebook, Snap
from interp.codebook.books import Books, Watched
from interp.effects.decompose import decompose
from interp.hooks import HookedModel, Site, Source
from interp.hooks.firing import Handler
from interp.hooks.model import Inputs
from interp.results.errors import BadInput, nearest
from interp.results.progress import progress

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

Through = Literal["held", "straight"]
_ROWS = 32  # run at once


class Code(NamedTuple):
    """One code of the book at a site, of one of its groups."""

    site: str
    group: int
    code: int

    def __str__(self) -> str:
        return f"{self.site}:{self.group}:{self.code}"


@dataclass(frozen=True)
class CodeCircuit:
    """`table` has a row per source and target: `effect`, how much of the target's similarity (a cosine, or minus a
    squared distance) is due to the source, on average over the `tokens` on which the target is active; and of the true
    interventions also `dropped`, the share of those on which it is no longer chosen."""

    table: "pd.DataFrame"
    how: str

    def frame(self) -> "pd.DataFrame":
        return self.table

    def figure(self) -> "go.Figure":
        """Effects as a heatmap."""
        from interp.results import plots

        table = self.table.pivot(index="source", columns="target", values="effect")
        return plots.heatmap(table.to_numpy(), x=list(table.columns), y=list(table.index),
                             title=f"which codes write which code ({self.how})")

    def save(self, run) -> None:
        """Table and figure into a run, as "code_circuit"."""
        run.save_views("code_circuit", self)


class Pass(NamedTuple):
    """What a book did in one run, and which tokens were real (None: all)."""

    snap: Snap
    real: Tensor | None

    def active(self, code: Code) -> Tensor:
        """Boolean [batch, pos]: the real tokens on which a code is active."""
        ids = self.snap.ids
        found = (ids == code.code).any(-1)
        return (found if self.real is None else found & self.real.expand(*ids.shape[:-1], 1)[..., 0])[..., code.group]


def commonest(books: Books, x: Inputs, site: str, n: int) -> list[Code]:
    """The n codes of a site's book that are active on most tokens, the most active first."""
    book = books.of(site)
    counts = torch.stack([book.count(seen.snap.ids, seen.real) for part in books.chunks(x, _ROWS, "counting codes")
                          for seen in [_passes(books, part)[site]]]).sum(0)
    order = counts.flatten().argsort(descending=True, stable=True)[:n].tolist()
    return [Code(site, *divmod(i, book.n_codes)) for i in order if counts.flatten()[i]]


def code_circuit(
    books: Books, x: Inputs, sources: Sequence[Code], targets: Sequence[Code], *, rules: str = "cdt",
    through: Through = "held",
) -> CodeCircuit:
    """How much each source code contributes to each target code's similarity under a rule set, with all books in.

    A source that does not come before a target contributes nothing to it. One decomposed forward per source and target
    site. Raises BadInput for codes that are not there, or that are active nowhere in `x`.
    """
    import pandas as pd

    if through not in get_args(Through):
        raise BadInput(f"through={through!r} is unknown.{nearest(str(through), get_args(Through))} There are: "
                       f"{', '.join(get_args(Through))}")
    clean = _clean(books, x, [*sources, *targets])
    order, rows = books.sites, []
    for source in progress(sources, f"decomposing codes ({rules})"):
        for site in dict.fromkeys(target.site for target in targets):
            here = [target for target in targets if target.site == site]
            before = order.index(source.site) < order.index(site)
            part = _relevant(books, x, clean, source, site, rules, through) if before else None
            for target in here:
                rows.append(_effect(books, clean, source, target, part))
    return CodeCircuit(pd.DataFrame(rows), f"{rules}, books {through}")


@torch.no_grad()
def suppressed(
    books: Books, x: Inputs, sources: Sequence[Code], targets: Sequence[Code], *, held: bool = False
) -> CodeCircuit:
    """The same numbers by true interventions: each source suppressed in the running model, the targets' similarity
    before minus after. Books in between choose their codes anew, or with `held` give those they gave."""
    import pandas as pd

    clean = _clean(books, x, [*sources, *targets])
    rows = []
    for source in progress(sources, "suppressing codes"):
        edited = books.suppress(source.site, source.code, head=source.group if books.of(source.site).grouped else None)
        for site in books.sites if held else ():
            if site != source.site:
                edited = edited.put(site, clean[site].snap.ids)
        now = _passes(books, x, edited.changes)
        for target in targets:
            snap, there = now[target.site].snap, clean[target.site]
            active = there.active(target)
            before, after = (_similarity(books.of(target.site), s.target, target)[active] for s in (there.snap, snap))
            found = books.of(target.site).search(snap.target)[1][..., target.group, :]
            dropped = ~(found == target.code).any(-1)[active]
            rows.append(_row(source, target, before - after) | {"dropped": float(dropped.double().mean())})
    return CodeCircuit(pd.DataFrame(rows), "suppressed, books " + ("held" if held else "free"))


def _clean(books: Books, x: Inputs, codes: Sequence[Code]) -> dict[str, Pass]:
    found = _passes(books, x)
    for code in codes:
        book = books.of(code.site)
        if not (0 <= code.group < book.groups and 0 <= code.code < book.n_codes):
            raise BadInput(f"the book at {code.site!r} has {book.groups} groups of {book.n_codes} codes; {code} was "
                           "asked for")
        if not found[code.site].active(code).any():
            raise BadInput(f"code {code} is active nowhere in these inputs: there is nothing to explain")
    return found


@torch.no_grad()
def _passes(books: Books, x: Inputs, changes=()) -> dict[str, Pass]:
    found: dict[str, Pass] = {}

    def watch(site: Site, book: Codebook, snap: Snap, real: Tensor | None) -> None:
        found[site.name] = Pass(snap, real)

    with books.model.edit(Watched(books, watch, changes)):
        books.model(x)
    return found


def _similarity(book: Codebook, target: Tensor, code: Code) -> Tensor:
    """To one code, of normed vectors [..., group, d]."""
    vectors, own = target[..., code.group, :], book.codes.view(book.groups, book.n_codes, -1)[code.group, code.code]
    if book.similarity == "euclidean":
        return -(vectors - own).square().sum(-1)
    return F.cosine_similarity(vectors, own.expand_as(vectors), dim=-1)


def _relevant(
    books: Books, x: Inputs, clean: dict[str, Pass], source: Code, target: str, rules: str, through: Through
) -> tuple[Tensor, Tensor]:
    """(value, part due to the source) of what enters the book at the target's site, as vectors."""
    model, layout = books.model, books.place(source.site).layout
    own = clean[source.site].snap.ids
    other = torch.arange(own.shape[-2], device=own.device)[:, None] != source.group
    without = books.of(source.site).decode(own.where((own != source.code) | other, EMPTY))
    group, base = [Source(source.site)], {source.site: layout.value(without)}
    first = next((block.resid_pre for block in model.map.blocks.values() if block.resid_pre in model.map.sites), None)
    between = _Between(books, clean, books.sites[: books.sites.index(target)], through)
    with model.edit(between):
        if first is not None:  # a source at the start, itself taken to what it is: all blocks run, with their books
            group, base = [*group, Source(first)], base | {first: model.read(x, [first])[first]}
        found = decompose(model, x, [group], [target], rules, baseline=base)
    vectors = books.place(target).layout.vectors
    return vectors(found.total[target]), vectors(found.relevant[target][0])


@dataclass(frozen=True)
class _Between:
    """Books at `sites`, as an intervention with parts: what they gave in the clean run, or that and what changes."""

    books: Books
    clean: dict[str, Pass]
    sites: list[str]
    through: Through

    def handlers(self, model: HookedModel) -> list[tuple[str, Handler]]:
        def handler(value: Tensor, site: Site) -> Tensor:
            layout, snap, book = self.books.place(site).layout, self.clean[site.name].snap, self.books.of(site)
            given = layout.value(snap.decoded if self.through == "held" else snap.decoded - snap.target).to(value.dtype)
            given = given.repeat(value.shape[0] // given.shape[0], *[1] * (given.dim() - 1))  # a folded batch
            if self.through == "held":
                return given
            return layout.value(_normed(book, layout.vectors(value))) + given

        return [(site, handler) for site in self.sites]


def _normed(book: Codebook, vectors: Tensor) -> Tensor:
    """`Codebook.normed` without its checks, which decide and so have no parts."""
    if book.pre_norm is None:
        return vectors
    return (F.layer_norm if book.pre_norm == "layer" else F.rms_norm)(vectors, vectors.shape[-1:], eps=EPSILON)


def _effect(books: Books, clean: dict[str, Pass], source: Code, target: Code, part) -> dict:
    active, book = clean[target.site].active(target), books.of(target.site)
    if part is None:
        return _row(source, target, torch.zeros(int(active.sum())))
    with torch.no_grad():
        total, relevant = part
        before, after = (_similarity(book, _normed(book, v), target)[active] for v in (total, total - relevant))
    return _row(source, target, before - after)


def _row(source: Code, target: Code, effects: Tensor) -> dict:
    return {"source": str(source), "target": str(target), "effect": float(effects.mean()), "tokens": len(effects)}
