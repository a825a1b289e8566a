"""Texts as rows of tokens that know which characters they are, so that what is found in a text is found in its tokens.

Places come from the tokenizer, in characters of the original text: also where a token is a part of a character, where
several characters are one token, and across windows of a long text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    from `start` to `stop` that each token is (-1 for special tokens)."""

    ids: Int[Tensor, "row pos"]
    real: Bool[Tensor, "row pos"]
    start: Int[Tensor, "row pos"]
    stop: Int[Tensor, "row pos"]
    text: Int[Tensor, " row"]
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def piece(self, row: int, pos: int) -> str:
        """The characters of one token; "" for a special one."""
        start, stop = int(self.start[row, pos]), int(self.stop[row, pos])
        return "" if start == NOWHERE else self.texts[int(self.text[row])][start:stop]

    def around(self, row: int, pos: int, context: int) -> tuple[str, str, str]:
        """The text before a token, the token, and the text behind it, `context` characters each."""
        start, stop = int(self.start[row, pos]), int(self.stop[row, pos])
        text = self.texts[int(self.text[row])]
        if start == NOWHERE:
            return "", "", text[:context]
        return text[max(0, start - context) : start], text[start:stop], text[stop : stop + context]

    def matches(self, pattern: str, *, words: bool = True, at: At = "last") -> Bool[Tensor, "row pos"]:
        """True at tokens that a regular expression marks.

        Marked is what the first capturing group matched, or the whole match where there is none; of the tokens that
        share a character with it the last (at which a causal model has read all of it), the first, or all. With
        `words`, a match neither begins nor ends inside a word.
        Raises BadInput for a pattern that is none, or that matches the empty text.
        """
        if at not in ("last", "first", "all"):
            raise BadInput(f"at={at!r}: give 'last', 'first' or 'all'")
        spans = [list(_spans(_compiled(pattern, words), text)) for text in self.texts]
        found = torch.zeros_like(self.real)
        for row, text in enumerate(self.text.tolist()):
            start, stop = self.start[row], self.stop[row]
            for low, high in spans[text]:
                inside = ((start < high) & (stop > low) & (start >= 0)).nonzero()[:, 0]
                found[row, inside if at == "all" else inside[-1:] if at == "last" else inside[:1]] = True
        return found


def _compiled(pattern: str, words: bool) -> re.Pattern[str]:
    try:
        return re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if words else pattern)
    except re.error as error:
        raise BadInput(f"{pattern!r} is no regular expression: {error}") from error


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        low, high = match.span(1) if pattern.groups else match.span()
        if match.end() == match.start():
            raise BadInput(f"the pattern {pattern.pattern!r} matches the empty text, which is no token: write + for *")
        if low < high:  # an optional group that took no part marks nothing
            yield low, high


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
    return _rows(coded["input_ids"], places, coded["overflow_to_sample_mapping"], texts, pad_id(tokenizer))


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


def _rows(ids, places, text, texts: tuple[str, ...], fill: int) -> Tokens:
    kept = [i for i, row in enumerate(ids) if row]
    shape = (len(kept), max(len(ids[i]) for i in kept))
    table, real = torch.full(shape, fill), torch.zeros(shape, dtype=torch.bool)
    start, stop = torch.full(shape, NOWHERE), torch.full(shape, NOWHERE)
    for row, i in enumerate(kept):
        n = len(ids[i])
        table[row, :n], real[row, :n] = torch.tensor(ids[i]), True
        start[row, :n], stop[row, :n] = torch.tensor(places[i]).T
    return Tokens(table, real, start, stop, torch.tensor([text[i] for i in kept]), texts)
