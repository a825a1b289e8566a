"""One virtual environment a peer, outside the project tree, with interp beside it in the same interpreter."""

import hashlib
import subprocess
import sys
from pathlib import Path

from platformdirs import user_cache_path

PROJECT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
PINS = {"transformer_lens": "transformer-lens==4.3.0", "nnsight": "nnsight==0.8.1"}


class CannotInstall(Exception):
    """A peer that this machine cannot install; the message is pip's last word."""


def python_for(peer: str, folder: Path | None = None) -> Path:
    """The interpreter of a peer's environment, made on the first call. Raises CannotInstall.

    torch goes in first and alone, so that its build decides what the rest fits to; then the peer; then this
    project, editable, whose dependencies are met by what is there or are small.
    """
    key = hashlib.sha256(f"{PROJECT} {TORCH} {PINS[peer]} {sys.version_info[:2]}".encode()).hexdigest()[:12]
    home = (folder or user_cache_path("interp") / "bench-peers") / f"{peer}-{key}"
    python, done = home / "bin" / "python", home / "complete"
    if done.exists():
        return python
    _call([sys.executable, "-m", "venv", "--clear", str(home)])
    for what in ([TORCH], [PINS[peer]], ["--editable", str(PROJECT)]):
        _call([str(python), "-m", "pip", "install", "--quiet", *what])
    done.touch()
    return python


def _call(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        last = [line for line in result.stderr.splitlines() if "ERROR" in line] or result.stderr.splitlines()[-1:]
        raise CannotInstall((last or ["no message"])[-1][:300])
