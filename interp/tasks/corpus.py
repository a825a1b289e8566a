"""English text and word lists that ship with the package (sources and licences: `data/LICENSES.md`)."""

import json
import lzma
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from interp.results.errors import BadInput

Split = Literal["train", "validation", "test"]

DOCUMENT_BREAK = "\f\n"  # a form feed on a line of its own, between two documents

# Addresses are held out by the last digit of their year: every era is in every split, and two addresses of
# one year (1953, 1961) never fall on both sides.
_VALIDATION_DIGIT, _TEST_DIGIT = 3, 7


@dataclass(frozen=True)
class Document:
    """One State of the Union address, or Moby Dick.

    `text` ends with a newline. `year` is the year of delivery or publication, `party` the president's party
    ("" for the novel).
    """

    title: str
    year: int
    author: str
    party: str
    split: Split
    text: str


@cache
def documents() -> tuple[Document, ...]:
    """All 234 documents: 233 addresses from 1790 to 2021 in order of delivery, then Moby Dick (1851)."""
    text = lzma.decompress(_data("corpus.txt.xz")).decode("utf-8")
    found = []
    for entry in json.loads(_data("corpus.json")):
        start, length = entry.pop("offset"), entry.pop("length")
        is_address = bool(entry["party"])
        split = _split_of(entry["year"]) if is_address else "train"
        found.append(Document(**entry, split=split, text=text[start : start + length]))
    return tuple(found)


def corpus(split: Split = "train") -> str:
    """The documents of one split as one string, in order, with `DOCUMENT_BREAK` between them.

    Splits are disjoint: addresses of years that end in 3 are "validation" and in 7 "test"; the others and
    Moby Dick are "train". Sizes in characters are about 10.0, 0.9 and 1.1 million.
    Raises BadInput for any other name.
    """
    if split not in get_args(Split):
        raise BadInput(f"no split '{split}' in the corpus; there are: {', '.join(get_args(Split))}")
    return DOCUMENT_BREAK.join(d.text for d in documents() if d.split == split)


def words(name: str) -> list[Any]:
    """A word list by name, as a new list.

    "female_names", "male_names" (frequent, in one gender's source list only), "places", "objects", "events"
    (things that last for years) hold strings; "nouns" holds (singular, plural), "us_states" (state, capital).
    Raises BadInput for an unknown name, with the names there are.
    """
    lists = json.loads(_data("words.json"))
    if name not in lists:
        raise BadInput(f"no word list '{name}'; there are: {', '.join(lists)}")
    return [tuple(entry) if isinstance(entry, list) else entry for entry in lists[name]]


def _split_of(year: int) -> Split:
    held_out: dict[int, Split] = {_VALIDATION_DIGIT: "validation", _TEST_DIGIT: "test"}
    return held_out.get(year % 10, "train")


def _data(name: str) -> bytes:
    return (files("interp.tasks") / "data" / name).read_bytes()
