"""Writing files so that a reader sees the old one or the new one, and reading JSON that we did not
necessarily write.
"""

import errno
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.results.errors import BadFile, InterpError

JSON_LIMIT = 64 * 2**20
"""Largest JSON file that is read, in bytes: a guard against a wrong file, far above any circuit of ours."""

_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space or choose another folder, then run again.",
    errno.EDQUOT: "Your disk quota is used up: free some space or choose another folder, then run again.",
    errno.EFBIG: "The file is larger than this disk or shell allows.",
    errno.EROFS: "The disk is read-only: choose another folder.",
    errno.EACCES: "You may not write there: choose another folder.",
    errno.EPERM: "You may not write there: choose another folder.",
    errno.ENOTDIR: "A part of the path is a file, not a folder.",
    errno.EEXIST: "A part of the path is a file, not a folder.",
    errno.EISDIR: "There is a folder of that name.",
}


def write_failed(path: Path, error: OSError) -> InterpError:
    """The error to raise when the system refuses a write: what could not be written, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, "")
    return InterpError(f"cannot write {path}: {error.strerror or error}. {advice}".rstrip())


def make_folder(path: Path) -> None:
    """Create a folder and its parents; an existing one is fine.

    Raises: InterpError when the system refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failed(path, error) from error


def atomic_write(path: str | Path, content: bytes | str) -> Path:
    """Write a whole file or leave what was there: temporary file beside it, flushed to disk, then renamed
    over it.

    Text is written as UTF-8. Missing parent folders are made. Returns the path.
    Raises: InterpError when the system refuses (full disk, no permission); no partial file is left behind.
    """
    path = Path(path)
    with replacing(path) as temporary:
        _write_through(temporary, content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place at the end of the `with`, or is removed on an error.

    Who has the file open, or mapped, keeps what was there. Missing parent folders are made.
    Raises: InterpError when the system refuses.
    """
    make_folder(path.parent)
    # Through a link the file behind it is replaced, not the link. Names of more than 255 bytes are refused.
    final = path.resolve()
    temporary = final.with_name(f".{final.name[:40]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        os.replace(temporary, final)
    except BaseException as error:  # an interrupt must not leave the temporary file either
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_failed(path, error) from error
        raise


def _write_through(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        # Without this a power cut after the rename can leave an empty file under the final name.
        os.fsync(file.fileno())


def read_text(path: str | Path, limit: int = JSON_LIMIT) -> str:
    """The text of a UTF-8 file.

    Raises: BadFile when it is absent, not a file, larger than `limit` bytes or not text.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise BadFile(f"{path}: there is no such file")
        if path.stat().st_size > limit:
            raise BadFile(f"{path}: {path.stat().st_size:,} bytes, more than the {limit:,} that are read")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not a text file ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path: str | Path, schema: str | None = None, limit: int = JSON_LIMIT) -> dict[str, Any]:
    """The object in a JSON file, read strictly: no NaN, no infinity, no key twice.

    `schema` is "kind/version", compared with the object's own "schema" when given.
    Raises: BadFile with the reason, for a damaged or foreign file or another schema version.
    """
    text = read_text(path, limit)
    try:
        data = json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique_keys
        )
    except RecursionError as error:
        raise BadFile(f"{path}: nested too deeply") from error
    except ValueError as error:
        raise BadFile(f"{path}: damaged, not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise BadFile(f"{path}: holds a {type(data).__name__}, not an object")
    if schema is not None:
        _check_schema(path, data.get("schema"), schema)
    return data


def _check_schema(path: str | Path, found: Any, wanted: str) -> None:
    kind, version = wanted.rsplit("/", 1)
    if found == wanted:
        return
    if isinstance(found, str) and found.rsplit("/", 1)[0] == kind:
        raise BadFile(f"{path}: schema {found}, this version of interp reads {kind}/{version}")
    raise BadFile(f"{path}: not a file of this kind (schema {found!r:.60}, expected {wanted!r})")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in result if keys.count(key) > 1)
        raise ValueError(f'the key "{twice[:80]}" is there twice')
    return result
