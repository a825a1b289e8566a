"""`interp doctor`: is everything here, and what to do where it is not."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

import typer

from interp.commands.shared import Debug, Json, gigabytes, print_json, print_table, register

NEEDED = ("torch", "transformers", "numpy", "pandas", "scipy", "scikit-learn", "safetensors", "plotly")
EXTRAS = {
    "timm": ("vision models of timm", "vision"),
    "transformer_lens": ("models of TransformerLens", "lens"),
    "gguf": ("interp fetch smollm2-135m", "fetch"),
    "onnx": ("interp fetch dinov2-s", "fetch"),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox")
LEAST_SPACE = 2e9


@dataclass(frozen=True)
class Finding:
    """One point: ok, missing (something optional) or wrong (something has to be done)."""

    what: str
    state: str
    found: str
    to_do: str = ""


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(app, doctor, "Check the installation.", "interp doctor")


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Check the installation: versions, the shipped models, real models, disk space, and say what to do.

    Ends with 1 if something has to be done before interp can work. What is "missing" is optional.
    """
    import pandas as pd

    findings = [*_versions(), *_torch(), *_garden(), *_real_models(), *_extras(), *_places(), _browser()]
    wrong = [finding for finding in findings if finding.state == "wrong"]
    if as_json:
        print_json({"ok": not wrong, "findings": [asdict(finding) for finding in findings]})
    else:
        print_table(pd.DataFrame([asdict(finding) for finding in findings]), rows=100)
    if wrong:
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if good else "wrong", platform.python_version(), "" if good else "use 3.11 or later")
    for package in NEEDED:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "wrong", "not installed", f"pip install {package}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken build raises what it likes
        yield Finding("torch works", "wrong", f"{type(error).__name__}: {error}"[:120], "install torch again")
        return
    yield Finding("processors", "ok", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        yield Finding("GPU", "ok", torch.cuda.get_device_name(0))
    else:
        yield Finding("GPU", "ok", "none; the models here are made for the CPU")


def _garden() -> Iterator[Finding]:
    from interp.garden.loading import garden_groups, load
    from interp.results.errors import InterpError

    groups = garden_groups()
    if not groups:
        yield Finding("shipped models", "wrong", "none", "install the package again: its data are not there")
    for shown, names in groups.items():
        try:
            counts = [sum(p.numel() for p in load(name).parameters()) for name in names]
            several = f"{len(names)} models, " if len(names) > 1 else ""
            yield Finding(shown, "ok", f"{several}{sum(counts):,} parameters")
        except InterpError as error:
            yield Finding(shown, "wrong", str(error)[:200], "install the package again")


def _real_models() -> Iterator[Finding]:
    from interp.garden.fetch import REAL_MODELS, is_fetched, model_folder

    for model in REAL_MODELS.values():
        if is_fetched(model.name):
            yield Finding(model.name, "ok", str(model_folder(model.name)))
        else:
            yield Finding(model.name, "missing", "not on this machine", f"{model.command} ({gigabytes(model.size)})")


def _extras() -> Iterator[Finding]:
    for module, (use, extra) in EXTRAS.items():
        if find_spec(module) is not None:
            yield Finding(module, "ok", f"for {use}")
        else:
            yield Finding(module, "missing", f"needed for {use}", f"pip install 'interp[{extra}]'")


def _places() -> Iterator[Finding]:
    from interp.garden.fetch import cache_directory

    for what, place in (("cache", cache_directory()), ("this folder", Path.cwd())):
        there = next(p for p in (place, *place.parents) if p.exists())
        free = shutil.disk_usage(there).free
        if not _writable(there):
            yield Finding(
                what,
                "wrong",
                f"{place} cannot be written",
                "set INTERP_CACHE to a folder of yours" if what == "cache" else "work in another folder",
            )
        elif free < LEAST_SPACE:
            yield Finding(what, "missing", f"{place}: {gigabytes(free)} free", "free some: models take up to 1 GB")
        else:
            yield Finding(what, "ok", f"{place}: {gigabytes(free)} free")


def _writable(folder: Path) -> bool:
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _browser() -> Finding:
    found = next((name for name in BROWSERS if shutil.which(name)), None)
    if found:
        return Finding("browser", "ok", found)
    return Finding("browser", "missing", "none on the path", "any browser opens report.html; only tests need one here")
