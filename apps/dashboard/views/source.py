"""The source of a program with the lines that an input uses lit up."""

from collections.abc import Mapping, Sequence
from typing import Any

from apps.dashboard.views import component

PLAIN, USED, HERE, LEFT_OUT = range(4)


def source(key: str, text: str, used: Mapping[int, Sequence[int]], *, at: int | None = None, label: str = "source",
           fold: Sequence[tuple[int, int]] = (), words: Sequence[str] = ()) -> None:
    """`used` {line, from 1: positions}; lines used at `at` stand out. Of the line ranges `fold` only used lines are
    shown, and behind them the view begins; `words` name the positions."""
    found = runs(text, used, at, fold, words)
    behind = max((last for _, last in fold), default=0)  # branches say more than scores: they are seen first
    first = next((i for i, run in enumerate(found) if run[0] in (USED, HERE) and int(run[1][:4]) > behind), 0)
    component.mount("source", key=key, data={"label": label, "runs": found, "first": first})


def runs(text: str, used: Mapping[int, Sequence[int]], at: int | None, fold: Sequence[tuple[int, int]],
         words: Sequence[str]) -> list[list[Any]]:
    """[kind, lines, what the tooltip says] of consecutive lines of one kind and tooltip."""
    lines = text.splitlines()
    hidden = {number for first, last in fold for number in range(first, last + 1) if number not in used}
    found: list[list[Any]] = []
    for number, line in enumerate(lines, 1):
        positions = used.get(number, ())
        kind = LEFT_OUT if number in hidden else HERE if at in positions else USED if positions else PLAIN
        said = ", ".join(f"{words[p] if p < len(words) else ''} [{p}]".strip() for p in positions)
        numbered = f"{number:4}  {line}\n"
        if found and found[-1][0] == kind and found[-1][2] == said:
            found[-1][1] += numbered
        else:
            found.append([kind, numbered, said])
    for run in found:
        if run[0] == LEFT_OUT:
            count = run[1].count("\n")
            run[1] = f"      ... {count} line{'s' * (count > 1)} of scores that are not used\n"
    return found
