"""The command line: `interp COMMAND`. Commands are in `interp/commands`, one small file a group."""

from typing import Annotated

import typer

import interp
from interp.commands import (
    analyses,
    circuits,
    codebook,
    compare,
    compare_architectures,
    dashboard,
    depth,
    doctor,
    garden,
    icl,
    models,
    programs,
    runs,
    sweep,
)
from interp.commands.shared import end_politely, stdout

HELP = """Mechanistic interpretability in which the architecture is a variable.

Results go to stdout (with --json as one JSON object), progress and errors to stderr. Exit codes: 0 fine, 1 failed,
2 wrong usage, 3 a model or its data is missing, 130 interrupted (go on with --resume)."""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nStart with:\n  interp models\n  interp show garden/induction-2l\n"
    "  interp discover induction --model garden/induction-2l",
)
for group in (
    models, circuits, compare, compare_architectures, sweep, analyses, depth, icl, codebook, programs, garden, runs,
    dashboard, doctor,
):
    group.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        stdout().print(f"interp {interp.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    """What the console script `interp` runs."""
    with end_politely():
        app(prog_name="interp")


if __name__ == "__main__":
    main()
