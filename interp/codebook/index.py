"""A search index on disk: the codes of every token of a body of text, memory-mapped, written in parts and resumable.

A folder holds `index.json` (what it belongs to, and of what shape), `tokens.safetensors`, one `codes-N.npy` per site
and `done.json`, how many rows are written. It is searched by `TokenCodes`, which reads what it needs.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from interp.codebook.books import Books
from interp.codebook.search import TokenCodes, halved, inputs, one_per_token, origin
from interp.codebook.tokens import Tokens
from interp.hooks.baselines import rows as rows_of
from interp.results.errors import BadFile, BadInput, InterpError
from interp.results.files import atomic_write, make_folder, read_json, replacing
from interp.results.progress import progress
from interp.results.tensors import load_arrays, save_arrays

SCHEMA = "interp.code_index/2"
FACTS, TENSORS, DONE = "index.json", "tokens.safetensors", "done.json"
FLUSH = 16  # batches between two records of how far it is


def build_index(
    books: Books, texts: Sequence[str] | Tensor, path: str | Path, *, vocab: Sequence[str] | None = None,
    length: int = 128, rows: int = 32, seed: int = 0,
) -> TokenCodes:
    """Read the codes of texts into a folder, `rows` rows at a time, and open it. One that was begun goes on.

    Arguments as of `TokenCodes.of`, which keeps everything in memory. Raises BadInput, with nothing written, where the
    folder has an index of other books, another model, another tokenizer or other texts.
    """
    tokens, x = inputs(books, texts, vocab, length)
    folder, sites, select = Path(path), books.sites, halved(tokens, seed)
    shapes = {site: [*tokens.ids.shape, books.of(site).groups, books.of(site).k] for site in sites}
    facts = _facts(origin(books), {site: books.of(site).n_codes for site in sites}, shapes, tokens, select)
    begun = _begun(folder, facts)
    starts = range(_done(folder) if begun else 0, len(tokens), rows)
    for number, start in enumerate(progress(starts, "indexing codes")):
        stop = min(start + rows, len(tokens))
        codes = one_per_token(books.read_codes(rows_of(x, slice(start, stop))), tokens.ids[start:stop])
        if not number:  # where codes cannot be read, nothing is left behind
            if not begun:
                _begin(folder, facts, tokens, select)
            arrays = {site: _open(folder, facts, i, "r+") for i, site in enumerate(sites)}
        for site, ids in codes.items():
            arrays[site][start:stop] = ids.cpu().numpy()
        if (number + 1) % FLUSH == 0 or stop == len(tokens):
            for array in arrays.values():
                array.flush()
            _note(folder, stop)
    return load(folder, books)


def save(found: TokenCodes, path: Any) -> Path:
    """Write codes that are in memory, or mapped from another index or this one, as an index.

    Raises BadInput where the folder has another one.
    """
    folder = Path(getattr(path, "path", path))
    shapes = {site: list(ids.shape) for site, ids in found.codes.items()}
    facts = _facts(found.origin, found.n_codes, shapes, found.tokens, found.select)
    if not _begun(folder, facts):
        _begin(folder, facts, found.tokens, found.select)
    for i, ids in enumerate(found.codes.values()):
        _write(folder, facts, i, ids)
    return _note(folder, len(found.tokens))


def load(path: str | Path, books: Books) -> TokenCodes:
    """A finished index, its codes memory-mapped.

    Raises BadFile for a damaged or unfinished folder, BadInput where it belongs to another model, tokenizer or books.
    """
    folder = Path(path)
    facts = read_json(folder / FACTS, schema=SCHEMA)
    try:
        mine = origin(books)
        other = [name for name in mine if mine[name] != facts["origin"].get(name)]
        if other:
            raise _of_another(folder, other[0], facts)
        arrays = {name: torch.from_numpy(np.array(value)) for name, value in load_arrays(folder / TENSORS).items()}
        tokens = Tokens(*(arrays[name] for name in ("ids", "real", "start", "stop", "text")), tuple(facts["texts"]),
                        {int(i): name for i, name in facts["names"].items()})
        if _done(folder) < len(tokens):
            raise BadFile(f"{folder}: {_done(folder)} of {len(tokens)} rows are written; call build_index "
                          "again, which goes on from there")
        codes = {site: torch.from_numpy(_open(folder, facts, i, "c")) for i, site in enumerate(facts["shapes"])}
        return TokenCodes(tokens, codes, facts["n_codes"], arrays["select"], facts["origin"])
    except InterpError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadFile(f"{folder}: damaged, not an index of codes ({error})") from error


def _facts(origin: dict, n_codes: dict, shapes: dict, tokens: Tokens, select: Tensor) -> dict[str, Any]:
    read = hashlib.sha256(tokens.ids.numpy().tobytes() + json.dumps(tokens.texts).encode()).hexdigest()
    return {"schema": SCHEMA, "origin": origin, "n_codes": n_codes, "shapes": shapes, "text": read,
            "select": hashlib.sha256(select.numpy().tobytes()).hexdigest(), "texts": list(tokens.texts),
            "names": {str(i): name for i, name in tokens.names.items()}}


def _begun(folder: Path, mine: dict[str, Any]) -> bool:
    """Whether the folder has this index, whole or in part. Raises BadInput where it has another."""
    if not (folder / FACTS).is_file():
        return False
    there = read_json(folder / FACTS, schema=SCHEMA)
    for name, value in mine["origin"].items():
        if there.get("origin", {}).get(name) != value:
            raise _of_another(folder, name, there)
    if any(there.get(name) != mine[name] for name in ("text", "shapes", "n_codes", "select")):
        raise BadInput(f"{folder} has an index of other texts, windows or halves: give another folder, or remove it")
    return True


def _of_another(folder: Path, what: str, there: dict[str, Any]) -> BadInput:
    name = there.get("origin", {}).get("model")
    return BadInput(f"the index in {folder} belongs to another {what} (it was made with {name!r}): give the folder of "
                    "these books, or an empty one to build anew")


def _begin(folder: Path, facts: dict[str, Any], tokens: Tokens, select: Tensor) -> None:
    make_folder(folder)
    (folder / DONE).unlink(missing_ok=True)
    arrays = {"ids": tokens.ids, "real": tokens.real, "start": tokens.start, "stop": tokens.stop, "text": tokens.text}
    save_arrays(folder / TENSORS, arrays | {"select": select})
    for i in range(len(facts["shapes"])):
        _write(folder, facts, i)
    atomic_write(folder / FACTS, json.dumps(facts, indent=1) + "\n")  # last: from here on it is an index


def _array(folder: Path, facts: dict[str, Any], i: int) -> tuple[Path, np.dtype, tuple[int, ...]]:
    """(file, type, shape) of the codes of the i-th site."""
    site, shape = list(facts["shapes"].items())[i]
    return folder / f"codes-{i}.npy", np.dtype(np.int16 if facts["n_codes"][site] < 2**15 else np.int32), tuple(shape)


def _write(folder: Path, facts: dict[str, Any], i: int, codes: Tensor | None = None) -> None:
    """Put a file with the codes of the i-th site, or room for them, in the place of what is there. Codes may be mapped
    from that very file: it stays what it is for who has it open."""
    path, dtype, shape = _array(folder, facts, i)
    with replacing(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", dtype, shape)
        if codes is not None:
            array[:] = codes.numpy()
        array.flush()


def _open(folder: Path, facts: dict[str, Any], i: int, mode: Literal["r+", "c"]) -> np.memmap:
    """The codes of the i-th site. Raises BadFile for an array that is not what the index says."""
    path, dtype, shape = _array(folder, facts, i)
    try:
        array = np.lib.format.open_memmap(path, mode)
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error})") from error
    except ValueError as error:
        raise BadFile(f"{path}: damaged, not an array of codes ({error})") from error
    if array.shape != shape or array.dtype != dtype:
        raise BadFile(f"{path}: damaged, {array.dtype} of shape {list(array.shape)} where {dtype} of {list(shape)} "
                      "were written")
    return array


def _note(folder: Path, rows: int) -> Path:
    """Record how many rows are written."""
    return atomic_write(folder / DONE, json.dumps({"schema": SCHEMA, "rows": rows}) + "\n")


def _done(folder: Path) -> int:
    return int(read_json(folder / DONE, schema=SCHEMA)["rows"]) if (folder / DONE).is_file() else 0
