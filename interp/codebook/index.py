"""A search index on disk: the codes of every token of a body of text, memory-mapped, written in parts and resumable.

A folder holds `index.json` (what it belongs to, and of what shape), `tokens.safetensors`, one `codes-N.npy` per site
and `done.json`, how many rows are written. It is searched by `TokenCodes`, which reads what it needs.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp.codebook.books import Books
from interp.codebook.search import TokenCodes, halved, inputs, origin
from interp.codebook.tokens import Tokens
from interp.hooks.baselines import rows as rows_of
from interp.results.errors import BadFile, BadInput, InterpError
from interp.results.files import atomic_write, make_folder, read_json, write_failed
from interp.results.progress import progress
from interp.results.tensors import load_arrays, save_arrays

SCHEMA = "interp.code_index/1"
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
    folder, sites = Path(path), books.sites
    shapes = {site: [*tokens.ids.shape, books.of(site).groups, books.of(site).k] for site in sites}
    facts = _facts(origin(books), {site: books.of(site).n_codes for site in sites}, shapes, tokens, seed)
    if (folder / FACTS).is_file():
        _check(folder, read_json(folder / FACTS, schema=SCHEMA), facts)
    else:
        _begin(folder, facts, tokens, halved(tokens, seed))
    done = _done(folder)
    arrays = {site: _open(folder, facts, i, "r+") for i, site in enumerate(sites)}
    starts = range(done, len(tokens), rows)
    for number, start in enumerate(progress(starts, "indexing codes")):
        stop = min(start + rows, len(tokens))
        for site, ids in books.read_codes(rows_of(x, slice(start, stop))).items():
            arrays[site][start:stop] = ids.cpu().numpy()
        if (number + 1) % FLUSH == 0 or stop == len(tokens):
            for array in arrays.values():
                array.flush()
            atomic_write(folder / DONE, json.dumps({"schema": SCHEMA, "rows": stop}) + "\n")
    return load(folder, books)


def save(found: TokenCodes, path: Any) -> Path:
    """Write codes that are in memory as an index. Raises BadInput where the folder has another one."""
    folder = Path(getattr(path, "path", path))
    shapes = {site: list(ids.shape) for site, ids in found.codes.items()}
    facts = _facts(found.origin, found.n_codes, shapes, found.tokens, None)
    if (folder / FACTS).is_file():
        _check(folder, read_json(folder / FACTS, schema=SCHEMA), facts)
    _begin(folder, facts, found.tokens, found.select)
    for i, ids in enumerate(found.codes.values()):
        array = _open(folder, facts, i, "r+")
        array[:] = ids.numpy()
        array.flush()
    return atomic_write(folder / DONE, json.dumps({"schema": SCHEMA, "rows": len(found.tokens)}) + "\n")


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
        tokens = Tokens(*(arrays[name] for name in ("ids", "real", "start", "stop", "text")), tuple(facts["texts"]))
        if _done(folder) < len(tokens):
            raise BadFile(f"{folder}: {_done(folder)} of {len(tokens)} rows are written; call build_index "
                          "again, which goes on from there")
        codes = {site: torch.from_numpy(_open(folder, facts, i, "c")) for i, site in enumerate(facts["shapes"])}
        return TokenCodes(tokens, codes, facts["n_codes"], arrays["select"], facts["origin"])
    except InterpError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadFile(f"{folder}: damaged, not an index of codes ({error})") from error


def _facts(origin: dict, n_codes: dict, shapes: dict, tokens: Tokens, seed: int | None) -> dict[str, Any]:
    read = hashlib.sha256(tokens.ids.numpy().tobytes() + json.dumps(tokens.texts).encode()).hexdigest()
    return {"schema": SCHEMA, "origin": origin, "n_codes": n_codes, "shapes": shapes, "text": read, "seed": seed,
            "texts": list(tokens.texts)}


def _check(folder: Path, there: dict[str, Any], mine: dict[str, Any]) -> None:
    for name, value in mine["origin"].items():
        if there.get("origin", {}).get(name) != value:
            raise _of_another(folder, name, there)
    if any(there.get(name) != mine[name] for name in ("text", "shapes", "n_codes", "seed")):
        raise BadInput(f"{folder} has an index of other texts or windows: give another folder, or remove it")


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
        _open(folder, facts, i, "w+")
    atomic_write(folder / FACTS, json.dumps(facts, indent=1) + "\n")  # last: from here on it is an index


def _open(folder: Path, facts: dict[str, Any], i: int, mode: str) -> np.memmap:
    """The codes of the i-th site. Raises BadFile for an array that is not what the index says."""
    site, path = list(facts["shapes"])[i], folder / f"codes-{i}.npy"
    shape, dtype = tuple(facts["shapes"][site]), np.int16 if facts["n_codes"][site] < 2**15 else np.int32
    try:
        if mode == "w+":
            return np.lib.format.open_memmap(path, mode, dtype, shape)
        array = np.lib.format.open_memmap(path, mode)
    except OSError as error:
        if mode == "w+":
            raise write_failed(path, error) from error
        raise BadFile(f"{path}: cannot be read ({error})") from error
    except ValueError as error:
        raise BadFile(f"{path}: damaged, not an array of codes ({error})") from error
    if array.shape != shape or array.dtype != dtype:
        raise BadFile(f"{path}: damaged, {array.dtype} of shape {list(array.shape)} where {np.dtype(dtype)} of "
                      f"{list(shape)} were written")
    return array


def _done(folder: Path) -> int:
    return int(read_json(folder / DONE, schema=SCHEMA)["rows"]) if (folder / DONE).is_file() else 0
