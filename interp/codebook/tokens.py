"""Texts as rows of tokens that know which characters they are, so that what is found in a text is found in its tokens.

Places come from the tokenizer, in characters of the original text: also where a token is a part of a character, where
several characters are one token, and across windows of a long text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.results.errors import BadInput
from interp.tasks.text import pad_id

At = Literal["last", "first", "all"]

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Tokens:
    """Rows of token ids with padding behind them (`real` is False there), the text each row is of, and the characters
    from `start` to `stop` that each token is (-1 for special tokens, whose `names` are kept by id)."""

    ids: Int[Tensor, "row pos"]
    real: Bool[Tensor, "row pos"]
    start: Int[Tensor, "row pos"]
    stop: Int[Tensor, "row pos"]
    text: Int[Tensor, " row"]
    texts: tuple[str, ...]
    names: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def piece(self, row: int, pos: int) -> str:
        """The characters of one token; "" for a special one."""
        start, stop = int(self.start[row, pos]), int(self.stop[row, pos])
        return "" if start == NOWHERE else self.texts[int(self.text[row])][start:stop]

    def around(self, row: int, pos: int, context: int) -> tuple[str, str, str]:
        """The text before a token, the token, and the text behind it, `context` characters each. A special token is its
        name in brackets, between what its neighbours are."""
        start, stop = int(self.start[row, pos]), int(self.stop[row, pos])
        text = self.texts[int(self.text[row])]
        token = text[start:stop]
        if start == NOWHERE:
            start = stop = self._between(row, pos)
            token = f"[{self.names.get(int(self.ids[row, pos]), '').strip('[]')}]"
        return text[max(0, start - context) : start], token, text[stop : stop + context]

    def _between(self, row: int, pos: int) -> int:
        """The character at which a special token stands: behind the nearest other token before it in its row, or else
        where the first one begins."""
        before, behind = self.stop[row, :pos], self.start[row, pos:]
        before, behind = before[before != NOWHERE], behind[behind != NOWHERE]
        return int(before[-1]) if len(before) else int(behind[0]) if len(behind) else 0

    def matches(self, pattern: str, *, words: bool = True, at: At = "last") -> Bool[Tensor, "row pos"]:
        """True at tokens that a regular expression marks.

        Marked is what the first capturing group that matched any text did, or the whole match where the pattern has no
        group; of the tokens that share a character with it the last (at which a causal model has read all of it), the
        first, or all. A match that crosses the border of two windows has its first token in the one and its last in the
        other. With `words`, a match neither begins nor ends inside a word.
        Raises BadInput for a pattern that is none, or that matches the empty text.
        """
        if at not in ("last", "first", "all"):
            raise BadInput(f"at={at!r}: give 'last', 'first' or 'all'")
        compiled = whole_words(pattern) if words else _compiled(pattern)
        placed, first, behind = self._covered([list(_spans(compiled, text)) for text in self.texts])
        if at == "all":
            edges = torch.zeros(len(placed) + 1, dtype=torch.long)
            edges.index_add_(0, first, torch.ones_like(first)).index_add_(0, behind, -torch.ones_like(behind))
            which = edges.cumsum(0)[:-1].nonzero()[:, 0]
        else:
            which = behind - 1 if at == "last" else first
        found = torch.zeros_like(self.real)
        found[tuple(placed[which].T)] = True
        return found

    def _covered(
        self, spans: Sequence[Sequence[tuple[int, int]]]
    ) -> tuple[Int[Tensor, "token 2"], Int[Tensor, " span"], Int[Tensor, " span"]]:
        """(row and position of all tokens in the order of the texts; of every span of characters of a text the first of
        these tokens that shares a character with it, and the one behind the last). A span without a token is left out.
        """
        # texts laid one behind the other, so that all spans are looked up in one sorted list
        ends = torch.tensor([0, *(len(text) for text in self.texts)]).cumsum(0)
        table = [(begin + low, begin + high) for begin, own in zip(ends.tolist(), spans) for low, high in own]
        low, high = torch.tensor(table, dtype=torch.long).view(-1, 2).T.contiguous()
        placed = (self.start != NOWHERE).nonzero()
        start, stop = ((place + ends[self.text][:, None])[tuple(placed.T)] for place in (self.start, self.stop))
        order = start.argsort(stable=True)
        first = torch.searchsorted(stop[order], low, right=True)
        behind = torch.searchsorted(start[order], high)
        some = first < behind
        return placed[order], first[some], behind[some]


def whole_words(pattern: str) -> re.Pattern[str]:
    """A regular expression whose matches neither begin nor end inside a word; flags in front, as in "(?i)war", hold.

    Raises BadInput for a pattern that is none.
    """
    flags = _compiled(pattern).flags
    bare = re.sub(r"^(\(\?[aiLmsux]+\))+", "", pattern)  # flags may stand in front only, and are given beside
    end = "\n" if flags & re.VERBOSE else ""  # of a comment, which would swallow the rest
    return re.compile(rf"(?<!\w)(?:{bare}{end})(?!\w)", flags)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput(f"{pattern!r} is no regular expression: {error}") from error


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        if match.end() == match.start():
            raise BadInput(f"the pattern {pattern.pattern!r} matches the empty text, which is no token: write + for *")
        groups = map(match.span, range(1, pattern.groups + 1)) if pattern.groups else (match.span(),)
        yield from islice(((low, high) for low, high in groups if low < high), 1)


def tokenise(tokenizer: Any, texts: Sequence[str], length: int) -> Tokens:
    """Texts in windows of `length` tokens, with the special tokens of the model's own inputs in each.

    Raises BadInput for no text, and for a tokenizer that cannot say where its tokens are.
    """
    texts = (texts,) if isinstance(texts, str) else tuple(texts)
    if not any(texts):
        raise BadInput("there is no text to look at: give one or more that are not empty")
    if not getattr(tokenizer, "is_fast", False):
        raise BadInput("this tokenizer does not say which characters its tokens are; load its fast version")
    coded = tokenizer(list(texts), truncation=True, max_length=length, return_overflowing_tokens=True,
                      return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
    places = [[(NOWHERE, NOWHERE) if special or low == high else (low, high) for (low, high), special in zip(*pair)]
              for pair in zip(coded["offset_mapping"], coded["special_tokens_mask"])]
    special = {i for row, where in zip(coded["input_ids"], places) for i, (low, _) in zip(row, where) if low == NOWHERE}
    names = {i: tokenizer.convert_ids_to_tokens(i) for i in sorted(special)}
    return _rows(coded["input_ids"], places, coded["overflow_to_sample_mapping"], texts, pad_id(tokenizer), names)


def spelled(ids: Int[Tensor, "row pos"], vocab: Sequence[str]) -> Tokens:
    """Rows of ids of a model without a tokenizer; a row's text is its words one behind the other."""
    if ids.dim() != 2 or not ids.numel() or not 0 <= int(ids.min()) <= int(ids.max()) < len(vocab):
        raise BadInput(f"ids [row, pos] of the {len(vocab)} words given are needed")
    places, texts = [], []
    for row in ids.tolist():
        ends = torch.tensor([len(vocab[i]) for i in row]).cumsum(0).tolist()
        places.append(list(zip([0, *ends[:-1]], ends)))
        texts.append("".join(vocab[i] for i in row))
    return _rows(ids.tolist(), places, range(len(ids)), tuple(texts), 0)


def _rows(ids, places, text, texts: tuple[str, ...], fill: int, names: Mapping[int, str] | None = None) -> Tokens:
    kept = [i for i, row in enumerate(ids) if row]
    shape = (len(kept), max(len(ids[i]) for i in kept))
    table, real = torch.full(shape, fill), torch.zeros(shape, dtype=torch.bool)
    start, stop = torch.full(shape, NOWHERE), torch.full(shape, NOWHERE)
    for row, i in enumerate(kept):
        n = len(ids[i])
        table[row, :n], real[row, :n] = torch.tensor(ids[i]), True
        start[row, :n], stop[row, :n] = torch.tensor(places[i]).T
    return Tokens(table, real, start, stop, torch.tensor([text[i] for i in kept]), texts, names or {})
