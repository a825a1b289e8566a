"""Codes over a body of text: found by regular expression, by label, by topic or by similarity, with examples."""

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize

from interp.codebook.books import Books
from interp.codebook.classify import PADDING, Counts, Detectors, count, detectors
from interp.codebook.files import digest
from interp.codebook.tokens import At, Tokens, spelled, tokenise
from interp.results.errors import BadInput, MissingSite, nearest

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["site", "group", "code", "precision", "recall", "f1", "activations", "matches", "selected_precision",
           "selected_recall", "selected_f1"]

By = Literal["precision", "f1"]

# tensors count versions, but fused optimisers and `.data` write without a new one
_DIGESTS: WeakKeyDictionary[nn.Module, tuple[dict[str, int], str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Found:
    """Codes in order of what they were chosen by, a row each: site, group, code, precision, recall and f1 on texts that
    nothing was chosen on, `activations` and `matches` there, and the same three of the texts they were chosen on."""

    table: "pd.DataFrame"
    what: str

    def frame(self) -> "pd.DataFrame":
        return self.table


@dataclass(frozen=True, eq=False)
class TokenCodes:
    """The codes of every token of a body of text. Texts are split in two: codes are chosen on one half (`select`, per
    row) and scored on the other."""

    tokens: Tokens
    codes: dict[str, Int[Tensor, "row pos group k"]]
    n_codes: dict[str, int]
    select: Bool[Tensor, " row"]
    origin: dict[str, str]

    @classmethod
    def of(cls, books: Books, texts: Sequence[str] | Tensor, *, vocab: Sequence[str] | None = None,
           length: int = 128, rows: int = 32, seed: int = 0) -> "TokenCodes":
        """Read the codes of texts, in windows of `length` tokens; or of token ids with the `vocab` that spells them.
        What does not fit in memory goes to disk: `interp.codebook.build_index`.

        Raises BadInput for a model without tokenizer or vocab, and for a site whose axes are not [batch, pos, ...].
        """
        tokens, x = inputs(books, texts, vocab, length)
        counts = {site: books.of(site).n_codes for site in books.sites}
        codes = one_per_token({site: ids.cpu() for site, ids in books.codes(x, rows=rows).items()}, tokens.ids)
        return cls(tokens, codes, counts, halved(tokens, seed), origin(books))

    def check(self, books: Books) -> "TokenCodes":
        """This, where it was made with these books. Raises BadInput where books, weights or tokenizer are others."""
        now = origin(books)
        other = [name for name in now if now[name] != self.origin.get(name)]
        if other:
            raise BadInput(f"these token codes belong to another {other[0]} (of {self.origin.get('model')!r}): make "
                           "them anew with TokenCodes.of(books, texts)")
        return self

    # -- finding -------------------------------------------------------------------------------------------------

    def chosen(self, sites: Sequence[str] | None) -> list[str]:
        """The sites that are asked for, None: all. Raises MissingSite, naming the nearest, for one without codes."""
        sites = [sites] if isinstance(sites, str) else list(sites or self.codes)
        for site in sites:
            if site not in self.codes:
                raise MissingSite(f"there are no codes of {site!r}.{nearest(site, self.codes)} There are codes of: "
                                  f"{', '.join(self.codes)}")
        return sites

    def search(self, pattern: str, *, by: By = "precision", words: bool = True, at: At = "last",
               least_recall: float = 0.01, least_hits: int = 3, n: int = 20,
               sites: Sequence[str] | None = None) -> Found:
        """The n codes with the highest precision (or f1) for the tokens that a regular expression marks
        (`Tokens.matches`), on the selected half of the texts, among those that find more than `least_recall` of them
        and no fewer than `least_hits` there: codes that were active once are precise by chance.

        Raises BadInput for a pattern that is found in one half only, MissingSite for a site without codes.
        """
        if by not in get_args(By):
            raise BadInput(f"by={by!r}: give one of {', '.join(get_args(By))}")
        labels = self.tokens.matches(pattern, words=words, at=at).long().where(self.tokens.real, PADDING)
        both = [labels.where(half[:, None], PADDING) for half in (self.select, ~self.select)]
        n_found = [int((half == 1).sum()) for half in both]
        if not all(n_found):
            raise BadInput(f"{pattern!r} marks {n_found[0]} tokens of the texts to choose on and {n_found[1]} of those "
                           "to score on; both are needed: give more texts" + (", or words=False" if words else ""))
        import pandas as pd

        rows = []
        for site in self.chosen(sites):
            ids, n_codes = self.codes[site], self.n_codes[site]
            here, there = (count(ids, half, 2, n_codes) for half in both)
            precision, recall = here.precision[1], here.recall[1]
            score = precision if by == "precision" else _f1(precision, recall)
            score = score.where((recall > least_recall) & (here.hits[1] >= least_hits), -1.0).flatten()
            order = score.argsort(descending=True, stable=True)[:n]
            rows += [_row(site, here, there, *divmod(int(i), n_codes)) for i in order if score[i] >= 0]
        table = pd.DataFrame(rows, columns=COLUMNS)
        table = table.sort_values(f"selected_{by}", ascending=False, kind="stable", ignore_index=True).head(n)
        return Found(table, f"tokens that {pattern!r} marks")

    def labelled(self, labels: Int[Tensor, "row pos"] | Int[Tensor, " text"], **settings: Any) -> Detectors:
        """The best code of each label, one per token or one per text, at each site: `interp.codebook.detectors` on this
        split. Raises BadInput for another number of labels, and where none is on both halves."""
        if labels.dim() == 1 and len(labels) == len(self.tokens.texts):
            labels = labels[self.tokens.text][:, None].expand_as(self.tokens.ids)
        if labels.shape != self.tokens.ids.shape:
            raise BadInput(f"labels of shape {list(labels.shape)} are neither one per token, "
                           f"{list(self.tokens.ids.shape)}, nor one per text, [{len(self.tokens.texts)}]")
        given = labels.where(self.tokens.real, PADDING)
        parts = [detectors({site: ids}, given, self.n_codes[site], select=self.select, **settings)
                 for site, ids in self.codes.items()]
        import pandas as pd

        return Detectors(pd.concat([part.table for part in parts], ignore_index=True), parts[0].threshold,
                         parts[0].left_out)

    def topics(self, row: int, share: float = 0.5) -> "pd.DataFrame":
        """Codes that are active on much of a row: `interp.codebook.topics.topics`."""
        from interp.codebook.topics import topics

        return topics(self, row, share)

    def topic(self, pattern: str, **settings: Any) -> "pd.DataFrame":
        """Codes that are active on much of the rows that a pattern occurs in: `interp.codebook.topics.topic`."""
        from interp.codebook.topics import topic

        return topic(self, pattern, **settings)

    def examples(self, site: str, group: int, code: int, *, n: int = 10, context: int = 40) -> "pd.DataFrame":
        """Tokens on which a code is active, with text around them: those where it is the most similar code first.

        Raises BadInput for a site, group or code that is not there.
        """
        import pandas as pd

        if site not in self.codes or not 0 <= group < self.codes[site].shape[2] or not 0 <= code < self.n_codes[site]:
            raise BadInput(f"there is no code {code} of group {group} at {site!r}; there are: " + ", ".join(
                f"{name} ({ids.shape[2]} groups of {self.n_codes[name]})" for name, ids in self.codes.items()))
        active = (self.codes[site][:, :, group] == code) & self.tokens.real[..., None]
        row, pos, slot = active.nonzero(as_tuple=True)
        best = slot.argsort(stable=True)[:n].tolist()
        parts = [self.tokens.around(int(row[i]), int(pos[i]), context) for i in best]
        return pd.DataFrame({"text": [int(self.tokens.text[row[i]]) for i in best], "pos": [int(pos[i]) for i in best],
                             "slot": [int(slot[i]) for i in best], "before": [p[0] for p in parts],
                             "token": [p[1] for p in parts], "after": [p[2] for p in parts]})

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: Any) -> Path:
        """Write an index of these codes to a folder: `interp.codebook.index.save`."""
        from interp.codebook.index import save

        return save(self, path)

    @classmethod
    def load(cls, path: str | Path, books: Books) -> "TokenCodes":
        """An index on disk, its codes memory-mapped: `interp.codebook.index.load`."""
        from interp.codebook.index import load

        return load(path, books)


def similar(books: Books, site: str, group: int, code: int, n: int = 10) -> "pd.DataFrame":
    """The n codes of the same book whose direction is nearest to a code's, with their cosine.

    Raises BadInput for a group or code that is not there.
    """
    import pandas as pd

    book = books.of(site)
    if not (0 <= group < book.groups and 0 <= code < book.n_codes):
        raise BadInput(f"the book at {site!r} has {book.groups} groups of {book.n_codes} codes; code {code} of group "
                       f"{group} was asked for")
    codes = normalize(book.codes.detach().view(book.groups, book.n_codes, -1)[group], dim=-1)
    cosine = (codes @ codes[code]).cpu()
    order = [i for i in cosine.argsort(descending=True).tolist() if i != code][:n]
    return pd.DataFrame({"code": order, "cosine": cosine[order].numpy()})


def _row(site: str, here: Counts, there: Counts, group: int, code: int) -> dict[str, Any]:
    row = {"site": site, "group": group, "code": code, "activations": int(there.active[group, code]),
           "matches": int(there.tokens[1])}
    for prefix, counts in (("", there), ("selected_", here)):
        precision, recall = counts.precision[1, group, code], counts.recall[1, group, code]
        row |= {f"{prefix}precision": float(precision), f"{prefix}recall": float(recall),
                f"{prefix}f1": float(_f1(precision, recall))}
    return row


def _f1(precision: Tensor, recall: Tensor) -> Tensor:
    return 2 * precision * recall / (precision + recall).clamp(min=1e-12)


def inputs(
    books: Books, texts: Sequence[str] | Tensor, vocab: Sequence[str] | None = None, length: int = 128
) -> tuple[Tokens, Any]:
    """(tokens, the model's input) of texts, or of ids with their `vocab`. Raises BadInput as `TokenCodes.of`."""
    model = books.model
    for site in books.sites:
        axes = model.site(site).axes
        if axes[:2] != ("batch", "pos") or len(axes) - (books.place(site).layout.axis is not None) != 3:
            raise BadInput(f"the codes of {site!r} ({' '.join(axes)}) are not one set per token: search others")
    if isinstance(texts, Tensor):
        if vocab is None:
            raise BadInput("token ids need vocab, the text of every id, to be searched")
        tokens = spelled(texts, vocab)
    elif model.tokenizer is None:
        raise BadInput(f"{model.name} has no tokenizer: give token ids, and vocab, the text of every id")
    else:
        tokens = tokenise(model.tokenizer, texts, min(length, model.map.n_ctx or length))
    padded = not model.map.causal and not tokens.real.all()
    return tokens, {"input_ids": tokens.ids, "attention_mask": tokens.real.long()} if padded else tokens.ids


def halved(tokens: Tokens, seed: int) -> Bool[Tensor, " row"]:
    """Which rows to choose on: those of a random half of the texts."""
    order = torch.randperm(len(tokens.texts), generator=Generator().manual_seed(seed))
    chosen = torch.zeros(len(tokens.texts), dtype=torch.bool)
    chosen[order[: len(order) // 2]] = True
    return chosen[tokens.text]


def one_per_token(codes: dict[str, Tensor], ids: Int[Tensor, "row pos"]) -> dict[str, Int[Tensor, "row pos group k"]]:
    """The codes that were read of these tokens. Raises BadInput where a site has not one set of them per token."""
    for site, found in codes.items():
        if found.shape[:2] != ids.shape:
            raise BadInput(f"{site!r} has codes for {list(found.shape[:2])} rows and positions of the "
                           f"{list(ids.shape)} that were read, as where a value does not depend on the tokens: to "
                           "search, attach books elsewhere")
    return codes


def origin(books: Books) -> dict[str, str]:
    """What token codes depend on, by name."""
    tokenizer = books.model.tokenizer
    words = "" if tokenizer is None else json.dumps(sorted(tokenizer.get_vocab().items()))
    placed = {site: [place.book, place.visit, place.layout.groups, books.of(site).settings]
              for site, place in books.places.items()}
    made = json.dumps(placed, sort_keys=True) + digest(dict(books.table.named_parameters()))
    return {"model": books.model.name, "tokenizer": hashlib.sha256(words.encode()).hexdigest(),
            "codebook": hashlib.sha256(made.encode()).hexdigest(),
            "weights": _weights(books.model.module)}


def _weights(module: nn.Module) -> str:
    """`digest` of a model's parameters, taken anew where their checksums, five times as fast, are others."""
    now = {name: zlib.crc32(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
           for name, value in module.named_parameters()}
    if module not in _DIGESTS or _DIGESTS[module][0] != now:
        _DIGESTS[module] = now, digest(dict(module.named_parameters()))
    return _DIGESTS[module][1]
