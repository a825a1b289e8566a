"""Numbers with intervals in the documentation are found, to the digits that are printed, in a record of a script.

Records: benchmarks/results, circuits/found, metrics of shipped models, runs that ship with the dashboard. Only those
count that the page names (`benchmarks.NAME`; else the model, circuit or run), so that a reader can find them too and a
number of two digits does not agree with a foreign one by accident.
"""

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
INTERVAL = re.compile(r"(?<![\w.,])(-?\d+(?:[ ,]\d{3})*(?:\.\d+)?)\**\s*\[(-?\d+(?:\.\d+)?), (-?\d+(?:\.\d+)?)\]")
PAGES = {path.name: path for path in sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md"])
         if INTERVAL.search(path.read_text())}
Triple = tuple[float, ...]


def triples(value: Any) -> Iterator[Triple]:
    """Every (number, low, high) inside of a record: of an estimate, of a row with low and high, of text."""
    if isinstance(value, dict):
        numbers = {key: x for key, x in value.items() if isinstance(x, int | float) and not isinstance(x, bool)}
        low, high = numbers.get("low"), numbers.get("high")
        if low is not None and high is not None:
            yield from ((x, low, high) for key, x in numbers.items() if key not in ("low", "high") and low <= x <= high)
        lists = {key: x for key, x in value.items() if isinstance(x, list) and x and isinstance(x[0], int | float)}
        if {"low", "high"} <= lists.keys():  # a curve
            yield from (point for key, x in lists.items() if key not in ("low", "high")
                        for point in zip(x, lists["low"], lists["high"]) if point[1] <= point[0] <= point[2])
        yield from ((x, numbers[f"{key}{gap}low"], numbers[f"{key}{gap}high"]) for key, x in numbers.items()
                    for gap in " _" if {f"{key}{gap}low", f"{key}{gap}high"} <= numbers.keys())
        for inside in value.values():
            yield from triples(inside)
    elif isinstance(value, list):
        if len(value) == 3 and all(isinstance(x, int | float) for x in value):
            yield tuple(map(float, value))
        for inside in value:
            yield from triples(inside)
    elif isinstance(value, str):
        yield from (read(found.groups()) for found in INTERVAL.finditer(value))


def read(texts: tuple[str, ...]) -> Triple:
    """The numbers that are printed so; thousands may be kept apart."""
    return tuple(float(re.sub("[ ,]", "", text)) for text in texts)


@cache
def records() -> dict[Path, tuple[str, set[Triple]]]:
    """Of every record how a page names it, and its triples: shares as per cent too, differences either way."""
    found = {}
    for places in ("benchmarks/results/*.json", "circuits/found/*.json", "interp/garden/**/metrics.json",
                   "apps/dashboard/cached/**/*.json"):
        for path in ROOT.glob(places):
            own = set(triples(json.loads(path.read_text())))
            own |= {tuple(100 * x for x in triple) for triple in own if max(map(abs, triple)) <= 1}
            found[path] = naming(path), own | {(-value, -high, -low) for value, low, high in own}
    return found


def naming(path: Path) -> str:
    """The pattern of what a page calls a record: `benchmarks.NAME`, or the circuit, model or run."""
    top, *_, folder, _ = parts = path.relative_to(ROOT).parts
    if top == "benchmarks":
        return rf"(?:[./]|--only ){path.stem}(?!\w)"
    name = path.stem if top == "circuits" else folder if top == "interp" else parts[3]
    return rf"(?<!\w){re.escape(name)}(?!\w)"


def named(page: str) -> list[Triple]:
    """The triples of all records that a page names, sorted."""
    return sorted({triple for name, own in records().values() if re.search(name, page) for triple in own})


def traced(texts: tuple[str, ...], known: list[Triple]) -> bool:
    """Whether one of `known`, which is sorted, rounds to what is printed."""
    places = [len(text.partition(".")[2]) for text in texts]
    wanted, within = read(texts), [0.5 * 10.0**-n + 1e-9 for n in places]
    low, high = (wanted[0] - within[0],), (wanted[0] + within[0], inf)
    return any(all(abs(x - y) <= some for x, y, some in zip(triple, wanted, within))
               for triple in known[bisect_left(known, low) : bisect_right(known, high)])


@pytest.mark.parametrize("page", PAGES)
def test_numbers_of_a_page_have_a_record(page):
    text = PAGES[page].read_text()
    printed, known = [found.groups() for found in INTERVAL.finditer(text)], named(text)
    missing = ["{} [{}, {}]".format(*texts) for texts in printed if not traced(texts, known)]
    assert not missing, f"{len(missing)} of {len(printed)} have none that the page names: {missing}"


def test_only_what_rounds_to_a_record_is_traced():
    known = [(0.1234, 0.1, 0.15), (12.34, 10.0, 15.0)]
    for printed in (("0.123", "0.10", "0.15"), ("0.12", "0.1", "0.1"), ("12.3", "10", "15")):
        assert traced(printed, known)
    for printed in (("0.124", "0.10", "0.15"), ("0.123", "0.11", "0.15"), ("0.123", "0.10", "0.16"),
                    ("13", "10", "15")):
        assert not traced(printed, known)


def test_only_records_that_a_page_names_count():
    assert set(named("`python -m benchmarks.depth`")) < set(named("`benchmarks.depth`, `benchmarks.depth_models`"))
    assert named("`benchmarks.depth`") and not named("how deep, at full depth")
    assert named("the circuit `ioi`") and not named("ioi2") and named("`garden/programs/sort`")


def test_estimates_rows_and_text_are_read():
    record = {"a": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}, "rows": [{"accuracy": 2.0, "low": 1, "high": 3}],
              "curve": {"sizes": [3, 4], "kept": [0.3, 0.5], "low": [0.2, 0.4], "high": [0.4, 0.6]},
              "text": "1,200 [1000, 1400] of them", "list": [1, 0.5, 2], "r": {"x": 7, "x_low": 6, "x_high": 8}}
    assert set(triples(record)) == {(0.5, 0.4, 0.6), (2.0, 1, 3), (1200.0, 1000.0, 1400.0), (0.3, 0.2, 0.4),
                                    (0.5, 0.4, 0.6), (1.0, 0.5, 2.0), (7, 6, 8)}
