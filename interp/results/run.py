"""Run directories: everything about one analysis in one folder, written so that a killed run can go on.

config.toml            the resolved settings            tables/NAME.csv        parts/KEY.safetensors
result.json            status, versions, seed, timings  figures/NAME.json      report.html
tensors.safetensors    arrays
"""

import json
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from interp.results.environment import now, peak_memory, versions
from interp.results.errors import BadFile, BadInput, InterpError
from interp.results.files import atomic_write, make_folder, read_json, read_text
from interp.results.folder import Folder
from interp.results.lock import Lock
from interp.results.plain import to_plain, toml_text, without_none

SCHEMA = "interp.run/1"
STATUSES = ("running", "done", "failed", "interrupted")
_FIELDS = {
    "command": str,
    "seed": int,
    "status": str,
    "reason": str | None,
    "model_hash": str | None,
    "started": str,
    "ended": str | None,
    "timings": dict,
    "peak_memory": dict,
    "versions": dict,
    "summary": dict,
}


class Run(Folder):
    """One run directory, open.

    Made by `Run.create` (to write) or `Run.open` (to read, and to add tables later).

    Used as a context it ends itself: done, failed with the reason, or interrupted (Ctrl-C). A run whose
    process was killed reads as interrupted too. Every write is whole or absent; a full disk is an
    InterpError.
    """

    def __init__(self, path: Path, state: dict[str, Any], lock: Lock | None = None) -> None:
        super().__init__(path)
        self._state = state
        self._lock = lock
        self._begun = time.monotonic()
        self._before = float(state["timings"].get("total", 0.0))

    @classmethod
    def create(
        cls, out: str | Path, command: str, config: Mapping[str, Any], seed: int, *, resume: bool = False
    ) -> Self:
        """Start a run in the folder `out`, new or empty.

        With `resume`, go on with an unfinished one found there.

        `config` is the resolved configuration, plain values (see `to_plain`); a None means "not set".
        Raises: BadInput when the folder holds other things or another run, or one that another process is
        writing.
        """
        path = Path(out)
        settings = {"command": command, "config": without_none(to_plain(config, "config")), "seed": int(seed)}
        if (path / "result.json").exists():
            return cls._resume(path, settings, resume)
        if path.exists() and (not path.is_dir() or any(item.name != Lock.NAME for item in path.iterdir())):
            raise BadInput(f"{path} is not an empty folder and holds no run: choose another folder")
        return cls._begin(path, settings)

    @classmethod
    def _begin(cls, path: Path, settings: dict[str, Any]) -> Self:
        was_there = path.exists()
        make_folder(path)
        lock = Lock.take(path)
        state = {
            "schema": SCHEMA,
            "command": settings["command"],
            "seed": settings["seed"],
            "status": "running",
            "reason": None,
            "model_hash": None,
            "started": now(),
            "ended": None,
            "timings": {},
            "peak_memory": {},
            "versions": versions(),
            "summary": {},
        }
        run = cls(path, state, lock)
        try:
            # result.json is last: it is what makes the folder a run.
            atomic_write(path / "config.toml", toml_text(settings["config"]))
            run._write_state()
        except BaseException:
            lock.release()
            (path / "config.toml").unlink(missing_ok=True)
            (path / Lock.NAME).unlink(missing_ok=True)
            if not was_there:
                path.rmdir()
            raise
        return run

    @classmethod
    def _resume(cls, path: Path, settings: dict[str, Any], resume: bool) -> Self:
        found = cls.open(path)
        if not resume or found.status == "done":
            advice = "resume it, or choose another folder"
            if found.status == "done":
                advice = "it is finished: read what is in it" if resume else "choose another folder"
            raise BadInput(f"{path} already holds a run ({found.command}, {found.status}): {advice}")
        there = {"command": found.command, "config": found.config, "seed": found.seed}
        if there != settings:
            differs = _difference(there, settings)
            raise BadInput(f"{path} holds a run of other settings ({differs}): choose another folder")
        found._lock = Lock.take(path)
        found._state |= {"status": "running", "reason": None, "ended": None, "versions": versions()}
        found._write_state()
        return found

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """The run in a folder. Raises: BadFile when there is none, or its result.json is damaged."""
        path = Path(path)
        if not (path / "result.json").is_file():
            raise BadFile(f"{path} holds no run: there is no result.json in it")
        state = read_json(path / "result.json", SCHEMA)
        _check_state(path / "result.json", state)
        return cls(path, state)

    # What the run is

    @property
    def command(self) -> str:
        """The command that made the run."""
        return self._state["command"]

    @property
    def seed(self) -> int:
        """The seed of every random choice in it."""
        return self._state["seed"]

    @property
    def status(self) -> str:
        """running, done, failed or interrupted; a run still marked running whose process is gone is
        interrupted.
        """
        status = self._state["status"]
        return (
            "interrupted"
            if status == "running" and self._lock is None and not Lock.held(self.path)
            else status
        )

    @property
    def info(self) -> dict[str, Any]:
        """A copy of result.json: reason, versions, timings in seconds, peak memory in bytes, model_hash,
        summary.
        """
        return json.loads(json.dumps(self._state)) | {"status": self.status}

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration in config.toml. Raises: BadFile."""
        path = self.path / "config.toml"
        try:
            return tomllib.loads(read_text(path))
        except tomllib.TOMLDecodeError as error:
            raise BadFile(f"{path}: damaged, not valid TOML ({error})") from error

    # Facts in result.json

    def record(self, **facts: Any) -> None:
        """Add named facts (numbers, text, Estimates, small tables of them) to the summary in result.json."""
        self._state["summary"] |= to_plain(facts, "summary")
        self._write_state()

    def set_model(self, model_hash: str) -> None:
        """Say which weights the run uses. Raises: BadInput when a resumed run was begun with others."""
        before = self._state["model_hash"]
        if before not in (None, model_hash):
            raise BadInput(
                f"{self.path} was begun with other weights ({before[:12]}, now {model_hash[:12]}): start anew"
            )
        self._state["model_hash"] = model_hash
        self._write_state()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds spent inside to the timing `name`."""
        begun = time.monotonic()
        try:
            yield
        finally:
            timings = self._state["timings"]
            timings[name] = timings.get(name, 0.0) + time.monotonic() - begun

    def checkpoint(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep one finished chunk of work, so that a killed run goes on after it: `completed(key)`,
        `part(key)`.
        """
        self.save_part(key, arrays)
        self._write_state()  # so that the time spent is known even if the run is killed later

    # The end

    def finish(self) -> None:
        """Mark the run done."""
        self._end("done", None)

    def fail(self, reason: str) -> None:
        """Mark the run failed. It can be resumed with the same settings."""
        self._end("failed", reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is None:  # ended inside, by finish() or fail()
            return
        if kind is None:
            self.finish()
            return
        status = "failed" if issubclass(kind, Exception) else "interrupted"
        if issubclass(kind, KeyboardInterrupt):
            error.add_note(f"the run in {self.path} is unfinished")
        # A disk that is full must not hide the error that ended the run.
        with suppress(InterpError):
            self._end(status, f"{kind.__name__}: {error}"[:2000])

    def _end(self, status: str, reason: str | None) -> None:
        self._state |= {"status": status, "reason": reason, "ended": now(), "peak_memory": peak_memory()}
        try:
            self._write_state()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _write_state(self) -> None:
        if self._lock is not None:
            self._state["timings"]["total"] = self._before + time.monotonic() - self._begun
        text = json.dumps(self._state, indent=1, ensure_ascii=False, allow_nan=False)
        atomic_write(self.path / "result.json", text + "\n")


def _difference(there: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The first setting that differs, with both values."""
    before, after = _flat(there), _flat(wanted)
    key = next(key for key in [*before, *after] if before.get(key) != after.get(key))
    return f"{key} was {before.get(key, 'not set')!r:.60}, now {after.get(key, 'not set')!r:.60}"


def _flat(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots. An empty table stays as itself, so that it can differ."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= (
            _flat(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
        )
    return flat


def _check_state(path: Path, state: dict[str, Any]) -> None:
    for key, kind in _FIELDS.items():
        if not isinstance(state.get(key), kind):
            raise BadFile(f'{path}: damaged, "{key}" is {state.get(key)!r:.60}')
    if state["status"] not in STATUSES:
        raise BadFile(f"{path}: damaged, the status is {state['status']!r:.60}")
    if not all(isinstance(seconds, (int, float)) for seconds in state["timings"].values()):
        raise BadFile(f"{path}: damaged, a timing is not a number")
