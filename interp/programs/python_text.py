"""Pieces of Python source: literals that cannot become code, names, and lines as `ruff format` would break them."""

import builtins
import keyword
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from interp.programs.program import Numerical, Variable

WIDTH = 120
INDENT = "    "


def quoted(text: str) -> str:
    """A string literal of `text` on one line, in the quotes that need fewer escapes, double ones where equal.

    It is made from `repr`, so no symbol of a program can end the literal: files of programs stay data.
    """
    quote = "'" if text.count('"') > text.count("'") else '"'
    # between single quotes `repr` escapes those, and only those, so taking that back leaves no quote escaped
    body = repr(text + '"')[1:-2].replace("\\'", "'")
    return quote + body.replace(quote, "\\" + quote) + quote


def number(value: float) -> str:
    """A literal that reads back as exactly `value`; whole numbers without a point."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def is_whole(variable: Variable) -> bool:
    """Whether the emitted program holds the variable as ints: numbers, and symbols that are rising whole numbers."""
    if isinstance(variable, Numerical):
        return True
    if not all(re.fullmatch("0|[1-9][0-9]{0,8}", symbol) for symbol in variable.symbols):
        return False
    return all(int(one) < int(two) for one, two in pairwise(variable.symbols))


def is_counted(variable: Variable) -> bool:
    """Whether the emitted program holds the index of a value as that value."""
    return isinstance(variable, Numerical) or variable.symbols == tuple(map(str, range(variable.size)))


def value(variable: Variable, index: int) -> str:
    """Literal of one value of a variable."""
    if isinstance(variable, Numerical):
        return str(int(index))
    return variable.symbols[index] if is_whole(variable) else quoted(variable.symbols[index])


def bracketed(prefix: str, items: Iterable[str], suffix: str, depth: int) -> list[str]:
    """A display or call on one line where it fits, else one item a line. `prefix` ends in the opening bracket."""
    items, indent = list(items), INDENT * depth
    line = f"{indent}{prefix}{', '.join(items)}{suffix}"
    if len(line) <= WIDTH or not items:
        return [line]
    return [indent + prefix, *(f"{indent}{INDENT}{item}," for item in items), indent + suffix]


def wrapped(pieces: Iterable[str], first: str, rest: str, last: str = "") -> list[str]:
    """Pieces with commas as lines of at most WIDTH: the first line after `first`, later ones after `rest`."""
    pieces = list(pieces)
    pieces = [piece + ", " for piece in pieces[:-1]] + [piece + last for piece in pieces[-1:]]
    lines, empty = [first], True
    for piece in pieces:
        if not empty and len(lines[-1]) + len(piece.rstrip()) > WIDTH:
            lines[-1] = lines[-1].rstrip()
            lines.append(rest)
        lines[-1] += piece
        empty = False
    return lines


def words(texts: Sequence[str], first: str, rest: str) -> list[str]:
    """Many words as strings side by side, divided by spaces; as a list where a word is empty or has a space."""
    if any(not text or " " in text for text in texts):
        return wrapped(map(quoted, texts), first + "[", rest, "],")
    lines = [texts[0]]
    for text in texts[1:]:
        room = WIDTH - len(rest if len(lines) > 1 else first) - 2
        if len(quoted(f"{lines[-1]} {text}")) > room:
            lines[-1] += " "
            lines.append(text)
        else:
            lines[-1] += f" {text}"
    literals = list(map(quoted, lines))
    literals[-1] += ","
    return [first + literals[0], *(rest + literal for literal in literals[1:])]


class Names:
    """Python names for variables: what they are called in the program, made legal, none twice."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = {*reserved, *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}

    def claim(self, name: str, *endings: str) -> str:
        """A name such that it and itself with each of `endings` are free."""
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "variable"
        plain = f"v_{plain}" if plain[0].isdigit() else plain
        options = (plain if i == 1 else f"{plain}_{i}" for i in range(1, len(self._taken) + 2))
        chosen = next(one for one in options if not self._taken & {one, *(one + end for end in endings)})
        self._taken |= {chosen, *(chosen + end for end in endings)}
        return chosen


def plain(text: str) -> str:
    """Text for a docstring: anything that could end one, or fill lines, is replaced."""
    return re.sub(r"[^\w .,:+()=-]", "_", text)[:80].strip() or "program"
