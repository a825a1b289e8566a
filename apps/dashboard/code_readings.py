"""What Codes shows of a run of `interp codebook train`: codes by pattern, their examples, text steered with one."""

import threading
from typing import Any

import pandas as pd
import streamlit as st

from apps.dashboard import folders
from interp.results.errors import BadFile, BadInput

TEXTS, CHARACTERS = 32, 1500
"""Held-out texts that are looked at, at most, and how much of each: 12,000 tokens of garden/text-small."""
FACTS = "codebooks.json"


def names() -> list[str]:
    """Runs with books, ours before those that ship."""
    frame = folders.listing()
    found = frame[frame["command"] == "codebook"]["run"] if len(frame) else []
    return [name for name in found if (folders.find(name) / FACTS).is_file()]


@st.cache_resource(max_entries=2, show_spinner="Loading the model and its books ...")
def _opened(run: str, changed: float) -> tuple[Any, threading.RLock]:
    from interp.codebook import load
    from interp.commands.opened import open_model

    # a copy of the model of its own: books may bring weights that the model was trained to with them
    return load(folders.find(run), open_model(folders.open_run(run).config["model"])), threading.RLock()


def books(run: str) -> tuple[Any, threading.RLock]:
    """(books of a run, the lock to hold while they run). Raises BadFile for a run without books."""
    path = folders.find(run) / FACTS
    if not path.is_file():
        raise BadFile(f"{run} is no run of interp codebook train: it has no {FACTS}")
    return _opened(run, path.stat().st_mtime)


@st.cache_data(max_entries=16, show_spinner=False)
def about(run: str) -> dict[str, Any]:
    """Sites, groups and codes of each, k, the model, and whether it has a tokenizer and continues text."""
    found, _ = books(run)
    model = found.model
    return {"model": model.name, "sites": found.sites, "groups": {site: found.of(site).groups for site in found.sites},
            "codes": {site: found.of(site).n_codes for site in found.sites}, "k": found.of(found.sites[0]).k,
            "reads": model.tokenizer is not None, "writes": model.map.causal and model.map.d_vocab is not None}


@st.cache_resource(max_entries=4, show_spinner="Reading the codes of held-out text, once ...")
def _tokens(run: str, changed: float) -> Any:
    from interp.codebook import TokenCodes
    from interp.tasks.corpus import documents

    found, lock = books(run)
    held = [document.text[2000 : 2000 + CHARACTERS] for document in documents() if document.split == "test"]
    with lock:
        return TokenCodes.of(found, held[:TEXTS])


def tokens(run: str) -> Any:
    """The `TokenCodes` of the texts that are looked at."""
    return _tokens(run, (folders.find(run) / FACTS).stat().st_mtime)


def count(run: str) -> int:
    """How many texts that is."""
    return len(tokens(run).tokens.texts)


@st.cache_data(max_entries=64, show_spinner="Searching ...")
def found(run: str, pattern: str, by: str) -> pd.DataFrame:
    """Codes that are active where a regular expression matches, chosen on half of the texts and scored on the other.

    Raises BadInput for a pattern that is none, or that the texts do not have.
    """
    if not pattern.strip():
        raise BadInput("type a word or a regular expression to search for")
    frame = tokens(run).search(pattern, by=by, n=30).frame()
    frame.insert(0, "name", [f"{row.site}:{row.group}:{row.code}" for row in frame.itertuples()])
    return frame


@st.cache_data(max_entries=64, show_spinner=False)
def examples(run: str, code: str) -> pd.DataFrame:
    """Tokens on which a code is active, with text around them, the most similar first."""
    frame = tokens(run).examples(*split(code), n=30, context=44)
    for column in ("before", "token", "after"):
        frame[column] = frame[column].str.replace("\n", "⏎")
    return frame


@st.cache_data(max_entries=64, show_spinner=False)
def similar(run: str, code: str) -> pd.DataFrame:
    """The codes of the same book whose directions are nearest."""
    from interp.codebook.search import similar as nearest

    made, lock = books(run)
    site, group, number = split(code)
    with lock:
        frame = nearest(made, site, group, number, n=8)
    return frame.assign(code=[f"{site}:{group}:{other}" for other in frame["code"]])


@st.cache_data(max_entries=64, show_spinner=False)
def active(run: str, text: str, code: str) -> pd.DataFrame:
    """The tokens of a text with how similar the code is among the k active ones: 1 the most, 0 not active."""
    from interp.codebook.circuits import Code
    from interp.codebook.on_text import on_text

    made, lock = books(run)
    with lock:
        return on_text(made, text, Code(*split(code)))


def steered(run: str) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """(what was written in three ways from the same random numbers, topic rate and perplexity by way) of a run of
    `interp codebook steer`; None where it has not ended well."""
    texts, rates = folders.table(run, "steered_texts"), folders.table(run, "steered")
    return None if texts is None or rates is None else (texts, rates)


def split(code: str) -> tuple[str, int, int]:
    """(site, group, code) of a name. Raises BadInput for one that is not written so."""
    site, *numbers = code.rsplit(":", 2)
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise BadInput(f"{code!r} is no code; write it like blocks.2.attn.hook_z:0:17 (site, group, code)")
    return site, *map(int, numbers)
