"""`interp dashboard`: the results and the library behind a browser window."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from interp.commands.shared import Debug, note, register

APP = Path(__file__).parents[2] / "apps" / "dashboard" / "server" / "app.py"
HERE = "127.0.0.1"


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(app, dashboard, "Look at models and circuits in a browser.", "interp dashboard",
             "interp dashboard --run runs/discover-induction-induction-2l-auto-1")


def dashboard(
    port: Annotated[int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8501,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", show_default=False, help="Open this run folder first."),
    ] = None,
    runs: Annotated[
        Path, typer.Option("--runs", metavar="DIR", help="Where runs are read and written.")
    ] = Path("runs"),
    address: Annotated[
        str, typer.Option("--address", metavar="IP", help="Who can reach it; by default this machine only.")
    ] = HERE,
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="WORD", show_default=False, envvar="INTERP_DASHBOARD_PASSWORD",
                     help="Ask for this word first."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Look at models, effects and circuits in a browser, and start analyses there.

    Opens on models that ship; nothing leaves this machine. Results are the run folders that the other commands make
    and read. Ctrl-C ends it.
    """
    from interp.results.errors import BadInput, ModelMissing

    if not APP.is_file():
        raise BadInput(f"the dashboard is in the source tree, and {APP} is not there: run this from a checkout")
    if find_spec("streamlit") is None:
        raise ModelMissing("the dashboard needs streamlit; install it with: pip install 'interp[dashboard]'")
    home, query = _opened(run, runs)
    if address != HERE:
        note(f"warning: {address} lets other machines reach this dashboard, and whoever can may start work here"
             + ("" if password else "; --password WORD asks for a word first"))
    port = port or _free_port(address)
    environment = os.environ | {"INTERP_RUNS": str(home.absolute()), "PYTHONPATH": _path()}
    if password:
        environment["INTERP_DASHBOARD_PASSWORD"] = password
    note(f"http://{HERE if address == HERE else address}:{port}{query}   (Ctrl-C ends it)")
    command = [sys.executable, "-m", "streamlit", "run", str(APP), "--server.port", str(port), "--server.address",
               address, "--server.headless", "true", "--browser.gatherUsageStats", "false",
               "--server.fileWatcherType", "none"]
    os.execve(sys.executable, command, environment)  # one process: whoever ends this command ends the server


def _opened(run: Path | None, runs: Path) -> tuple[Path, str]:
    """(where runs are, the query of the page that shows `run`). Raises BadFile for a folder that holds none."""
    if run is None:
        return runs, ""
    from interp.results import Run

    folder = Run.open(run).path.absolute()
    home = runs.absolute()
    home = home if folder.is_relative_to(home) else folder.parent
    name = folder.relative_to(home).as_posix()
    page = "circuit" if (folder / "circuit.json").is_file() else "runs"
    return home, f"/{page}?run={name}"


def _path() -> str:
    return os.pathsep.join(filter(None, (str(APP.parents[3]), os.environ.get("PYTHONPATH"))))


def _free_port(address: str) -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]
