"""Greater-than: "The war lasted from the year 1735 to the year 17" -> a later year.

Paper: Hanna, Liu and Variengien 2023, "How does GPT-2 compute greater-than?", arXiv 2305.00586.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from interp.results.errors import BadInput
from interp.tasks.corpus import words
from interp.tasks.metrics import ProbDiff
from interp.tasks.splits import Draw, Pools, Row, check_pool, generate
from interp.tasks.task import Task
from interp.tasks.text import continuation, continues, encode, needs_causal, needs_tokenizer, single, tokens_of

TEMPLATE = "The {noun} lasted from the year {year} to the year {century}"
CENTURIES = range(11, 18)
Same = Literal["correct", "neither"]


def greater_than(
    model: Any = None,
    n: int = 64,
    seed: int = 0,
    *,
    tokenizer: Any = None,
    same_digit: Same = "correct",
    century: int | None = None,
) -> Task:
    """A later year: probability of the years (or tens digits) after the first one, minus that of those before.

    Where the tokenizer writes the end of a year as one token ("17", "35"), the groups are the later and the earlier or
    same numbers. Where it writes digits one by one, the answer is the tens digit: larger against smaller, and the
    *same* digit, after which a later year is still possible, counts as `same_digit` says (years from 20 to 89).
    Corrupt has the year 01 of the century. A cluster is an event ("war"); no part shares one with another.
    Raises BadInput for a tokenizer that breaks years in other ways.
    """
    tokenizer = tokenizer or needs_tokenizer(model, "greater-than")
    needs_causal(model, "greater-than", tokenizer)
    if same_digit not in ("correct", "neither"):
        raise BadInput(f'same_digit is "correct" or "neither", not {same_digit!r}')
    if century is not None and century not in range(10, 21):
        raise BadInput(f"century is the first two digits of the years, 10 to 20, not {century!r}")
    events = single(tokenizer, words("events"))
    check_pool("greater-than", "events", events, 3)
    written = _writing(tokenizer, list(CENTURIES) if century is None else [century])
    table = generate("greater-than", n, seed, {"events": events}, _draw(written))
    task = Task.from_pairs(table, _no_metric, tokenizer=tokenizer, name="greater-than", content=("noun",))
    groups = torch.tensor([written.group(year % 100, same_digit) for year in table["year"]])
    return replace(task, metric=ProbDiff(task.lengths.stop - 1, groups, torch.tensor(written.tokens)))


@dataclass(frozen=True)
class _Writing:
    """How a tokenizer writes the last two digits of a year.

    `tokens` are the possible answers, `values` the number or tens digit that each stands for; `years` the ends of years
    that can be asked about, by century.
    """

    digits: bool
    tokens: list[int]
    values: list[int]
    years: dict[int, list[int]]

    def group(self, end: int, same_digit: Same) -> list[int]:
        """+1, -1 or 0 for each of `tokens` after a year that ends in `end`."""
        if not self.digits:
            return [1 if value > end else -1 for value in self.values]
        same = 1 if same_digit == "correct" else 0
        return [same if value == end // 10 else 1 if value > end // 10 else -1 for value in self.values]


def _writing(tokenizer: Any, centuries: list[int]) -> _Writing:
    for digits, look in ((True, _by_digit), (False, _by_pair)):
        found = [look(tokenizer, century) for century in centuries]
        years = {c: ends for c, (_, ends) in zip(centuries, found, strict=True) if 1 in ends and len(ends) > 50}
        if years:
            table = next(table for (table, ends), c in zip(found, centuries, strict=True) if c in years)
            low, high = (20, 89) if digits else (2, 98)
            askable = {c: [end for end in ends if low <= end <= high] for c, ends in years.items()}
            return _Writing(digits, list(table.values()), list(table), askable)
    example = f"the year {centuries[-1]}35"
    raise BadInput(
        "greater-than needs a tokenizer that writes the end of a year as one token or as two digits; this one writes "
        f"{example!r} as {tokens_of(tokenizer, encode(tokenizer, example))}"
    )


def _by_digit(tokenizer: Any, century: int) -> tuple[dict[int, int], list[int]]:
    """Tens digit -> token, and the ends of years that are written as two digits."""
    digits = {d: encode(tokenizer, f"the year {century}{d}")[-1] for d in range(10)}
    ends = [end for end in range(100) if _ends_with(tokenizer, century, end, [digits[end // 10], digits[end % 10]])]
    return digits, ends if len(set(digits.values())) == 10 else []


def _by_pair(tokenizer: Any, century: int) -> tuple[dict[int, int], list[int]]:
    """End of a year -> token, and the ends that follow the century as that one token."""
    # a year that is a token of its own (1776) cannot be asked about, but its end is still a possible answer
    written = {end: continuation(tokenizer, f"the year {century}", f"{end:02d}") for end in range(100)}
    pairs = {end: ids[0] for end, ids in written.items() if len(ids) == 1}
    return pairs, [end for end, token in pairs.items() if _ends_with(tokenizer, century, end, [token])]


def _ends_with(tokenizer: Any, century: int, end: int, ids: list[int]) -> bool:
    prompt, text = f"the year {century}", f"{end:02d}"
    return continues(tokenizer, prompt, text) and continuation(tokenizer, prompt, text) == ids


def _draw(written: _Writing) -> Draw:
    def draw(pools: Pools, generator: np.random.Generator) -> list[Row]:
        noun = str(generator.choice(pools["events"]))
        century = int(generator.choice(list(written.years)))
        year = 100 * century + int(generator.choice(written.years[century]))
        clean, corrupt = (TEMPLATE.format(noun=noun, year=y, century=century) for y in (year, 100 * century + 1))
        return [{"clean": clean, "corrupt": corrupt, "noun": noun, "year": year, "cluster": noun}]

    return draw


def _no_metric(output: torch.Tensor) -> torch.Tensor:
    """Stands in until the lengths of the prompts, and with them the positions to read, are known."""
    return output.new_zeros(len(output))
