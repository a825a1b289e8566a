"""Progress of long loops: a bar on a terminal, an app's own sink inside `use_progress`, silence elsewhere."""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
Sink = Callable[[str, int, int | None], None]
"""Called with (description, done, total); total is None where the length is not known."""

_sink: ContextVar[Sink | None] = ContextVar("interp_progress", default=None)


@contextmanager
def use_progress(callback: Sink) -> Iterator[None]:
    """Inside, every `progress` loop reports to `callback` instead of a bar: at 0, and after each item.

    An exception from the callback ends the loop, which is how an app cancels. Holds for this thread (or task)
    only: a worker thread enters it itself.
    """
    token = _sink.set(callback)
    try:
        yield
    finally:
        _sink.reset(token)


def progress(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """The items, unchanged, while the loop over them is shown with its time left.

    `total` defaults to the length.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    sink = _sink.get()
    if sink is not None:
        return _reported(iterable, description, total, sink)
    if sys.stderr is not None and sys.stderr.isatty():
        return _drawn(iterable, description, total)
    return iter(iterable)


def _reported(iterable: Iterable[Item], description: str, total: int | None, sink: Sink) -> Iterator[Item]:
    sink(description, 0, total)
    for done, item in enumerate(iterable, start=1):
        yield item
        sink(description, done, total)


def _drawn(iterable: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    bars = _display.join()
    task = bars.add_task(description, total=total)
    try:
        for item in iterable:
            yield item
            bars.advance(task)
    finally:
        bars.remove_task(task)
        _display.leave()


class _Display:
    """The one live display of this process: a terminal holds one, so inner loops add their line to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops = 0
        self._bars: Progress | None = None

    def join(self) -> "Progress":
        """The display, started by the first loop."""
        with self._lock:
            self._loops += 1
            if self._bars is None:
                self._bars = _new_bars()
                self._bars.start()
            return self._bars

    def leave(self) -> None:
        """Take one loop off; the last one removes the display."""
        with self._lock:
            self._loops -= 1
            if self._loops == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


def _new_bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # Plain text: a description may hold brackets, as node names do, which rich would read as markup.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


_display = _Display()
