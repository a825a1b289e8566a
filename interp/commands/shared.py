"""What every command shares: how errors end it, where it prints, and the options that mean the same everywhere."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from interp.results.errors import InterpError

if TYPE_CHECKING:
    import pandas as pd

INTERRUPTED = 130

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        show_default=False,
        help="A shipped (garden/induction-2l) or real model (smollm2-135m), a folder, a Hugging Face id, timm/NAME.",
    ),
]
Prompts = Annotated[int, typer.Option("--n", min=3, metavar="N", help="How many prompts to make.")]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides every random choice: prompts, splits, draws.")]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout, nothing else.")]


def _folder(otherwise: str) -> Any:
    return typer.Option("--out", "-o", metavar="DIR", show_default=False, help=f"Folder for the results; {otherwise}.")


Out = Annotated[Path | None, _folder("by default a new one in runs/")]
Keep = Annotated[Path | None, _folder("without it nothing is written")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of the same settings.")]


def _remember(ctx: typer.Context, value: bool) -> bool:
    ctx.meta["interp.debug"] = value
    return value


Debug = Annotated[bool, typer.Option("--debug", callback=_remember, help="Show where an error comes from.")]


class Command(TyperCommand):
    """A command whose errors are one line on stderr and an exit code; `--debug` shows the trace instead."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            _say("; ".join(["interrupted", *_what_is_left(interrupt, resumable="resume" in ctx.params)]))
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if ctx.meta.get("interp.debug") or _typers_own(error):
                raise
            _say(_sentence(error))
            raise typer.Exit(getattr(error, "exit_code", 1)) from error


def register(app: typer.Typer, function: Callable[..., None], short: str, *examples: str) -> None:
    """Make a function a command: its name is the function's (`list_` is list, `a_b` is a-b), its help the docstring
    with examples at the end."""
    # \b keeps an example on its own line, so that it can be copied
    lines = "".join(f"\n  {example}" for example in examples)
    name = function.__name__.rstrip("_").replace("_", "-")
    app.command(name, cls=Command, short_help=short, epilog=f"\b\nExample:{lines}")(function)


@contextmanager
def going_on() -> Iterator[None]:
    """Around work that the same command goes on with when it is given again: an interrupt says so."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note("what is finished is kept: run the same command again")
        raise


def _what_is_left(interrupt: KeyboardInterrupt, resumable: bool) -> list[str]:
    """What an interrupt says of the work that it ended; nothing where none had begun."""
    said = list(getattr(interrupt, "__notes__", ()))
    return said + ["go on with the same command and --resume"] if said and resumable else said


def _typers_own(error: Exception) -> bool:
    """Exit, Abort and usage errors, which typer ends itself, and a reader that closed the pipe."""
    return type(error).__module__.partition(".")[0] == "typer" or isinstance(error, BrokenPipeError)


def _sentence(error: Exception) -> str:
    from interp.garden.fetch import FetchError

    if isinstance(error, InterpError | FetchError):
        return f"error: {error}"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "out of memory" in str(error):
        return "error: out of memory; use fewer prompts (--n), or a smaller model"
    first = (str(error).splitlines() or [""])[0]
    return f"error: {type(error).__name__}: {first}\nThis one was not foreseen; --debug shows where it comes from."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def end_politely() -> Iterator[None]:
    """A request to end (SIGTERM) is an interrupt: what runs is marked interrupted and can be resumed."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:  # before or after the command itself
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def stdout() -> Console:
    """Where results go. A file or pipe gets lines wide enough for a table."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=140)


def note(text: str) -> None:
    """A line on stderr: what is going on, or a warning."""
    Console(stderr=True, highlight=False).print(text, style="dim", markup=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """The one JSON object of a command."""
    from interp.results.plain import to_plain

    print(json.dumps(to_plain(_finite(value), "result"), indent=1, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    """The same with None for what JSON cannot hold: NaN and infinity."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a table for JSON; what is absent is None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def print_table(frame: "pd.DataFrame", title: str = "", rows: int = 40) -> None:
    """A table on stdout: numbers to four digits and to the right, the rest as it is."""
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=None, pad_edge=False)
    for column in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[column]) and frame[column].dtype != bool
        table.add_column(
            str(column).replace("_", " "), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
        )
    for row in frame.head(rows).itertuples(index=False, name=None):
        table.add_row(*(Text(_cell(value)) for value in row))
    if title:
        stdout().print(Text(title, "bold"), soft_wrap=True)  # the table's own title would be as narrow as the table
    stdout().print(table)
    if len(frame) > rows:
        stdout().print(f"... and {len(frame) - rows} more rows")


def _cell(value: Any) -> str:
    import pandas as pd

    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value is pd.NA or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def gigabytes(count: float) -> str:
    """1.2 GB, or 340 MB below one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
