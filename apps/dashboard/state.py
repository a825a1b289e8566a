"""What the user looks at, in one table of short keys, kept in the URL so that a link shows the same thing.

A page reads `state.get("t")`, changes it with `state.put(h="L1H2")` (the URL follows), or gives it to a widget:
`state.choose("view", "Mode", options)`. A link to another page is `state.link("circuit", "Open", run=name)`.
A value in the URL that cannot be read becomes the default, with one quiet notice. To add a key, add a row to `KEYS`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

LONGEST = 1500
"""Characters of one value: a browser's address holds little more than 2000 in all."""


@dataclass(frozen=True)
class Key:
    """One key of the URL: `read` turns its text into a value or raises ValueError with the reason."""

    name: str
    default: Any
    read: Callable[[str], Any]
    about: str


def text(pattern: str = r"[^\x00-\x1f]+", most: int = 200) -> Callable[[str], str]:
    """A reader of text that matches `pattern` and has at most `most` characters."""

    def read(value: str) -> str:
        if len(value) > most:
            raise ValueError(f"longer than {most} characters")
        if not re.fullmatch(pattern, value):
            raise ValueError("not of the form that is expected here")
        return value

    return read


def number(low: float, high: float, kind: type = int) -> Callable[[str], Any]:
    """A reader of a number from `low` to `high`."""

    def read(value: str) -> Any:
        try:
            found = kind(value)
        except ValueError:
            raise ValueError(f"not a {'whole ' if kind is int else ''}number") from None
        if not low <= found <= high:
            raise ValueError(f"not between {low} and {high}")
        return found

    return read


def one_of(*options: str) -> Callable[[str], str]:
    """A reader of one of some words."""

    def read(value: str) -> str:
        if value not in options:
            raise ValueError(f"none of {', '.join(options)}")
        return value

    return read


MODEL = text(r"[\w./@~:+-]+")
TASK = text(r"[\w-]+(:[\w=,.-]+)?")
NODES = text(r"[\w.@\[\]=,+-]+", 400)
RUN = text(r"\w[\w.-]*(/\w[\w.-]*){0,3}")
GRIDS = ("effect", "gradient", "direct", "pattern", "previous", "first")

KEYS: dict[str, Key] = {key.name: key for key in (
    Key("m", "garden/induction-2l", MODEL, "model"),
    Key("t", "induction", TASK, "task, with its options"),
    Key("n", 48, number(6, 512), "number of prompts"),
    Key("seed", 0, number(0, 10**6), "seed of prompts, splits and draws"),
    Key("row", 0, number(0, 511), "prompt that is shown"),
    Key("p", "", text(r"[^\x00]*", LONGEST), "clean prompt of one's own, in place of the task's"),
    Key("c", "", text(r"[^\x00]*", LONGEST), "corrupted prompt of one's own"),
    Key("pos", -1, number(-4096, 4096), "position that is looked at; -1 is the last"),
    Key("h", "", NODES, "selected nodes: L1H2, MLP0, several joined by commas"),
    Key("e", "", text(r"[\w.@\[\]=,+() >-]+"), "selected edge: L0H2 -> L1H1 (k)"),
    Key("lay", 0, number(0, 512), "layer"),
    Key("met", "", text(r"[\w-]+"), "metric"),
    Key("abl", "counterfactual", one_of("counterfactual", "mean", "zero", "resample"), "what a removed node is put at"),
    Key("thr", 0, number(0, 4096), "nodes or edges shown of a circuit; 0 is the circuit as found"),
    Key("meth", "auto", text(r"[\w-]+"), "method of discovery"),
    Key("view", "effect", one_of(*GRIDS), "what the grid of heads shows"),
    Key("mode", "", text(r"[\w-]+"), "what this page shows, in pages with modes of their own"),
    Key("q", "", text(r"[^\x00]*", 300), "search"),
    Key("lens", "logit", one_of("logit", "tuned"), "lens that reads a depth"),
    Key("of", "answer", one_of("answer", "next", "task"), "whose rank and probability a lens shows"),
    Key("fol", "", text(r"[^\x00-\x1f]+", 100), "token that is followed over depth"),
    Key("part", "stream", one_of("stream", "attn", "mlp", "heads"), "what is patched"),
    Key("dir", "restore", one_of("restore", "remove"), "direction of patching"),
    Key("on", "one", one_of("one", "all"), "patching on one prompt, or over all discover prompts"),
    Key("cut", 0, number(0, 4096), "blocks that are taken away"),
    Key("skip", "current", one_of("current", "future", "past", "local"), "where blocks are left out one by one"),
    Key("qual", "", one_of("task", "text"), "what says how good a model is without some blocks"),
    Key("by", "least", one_of("least", "turn", "last", "first"), "order in which blocks are taken away"),
    Key("icl", "garden/icl-linear-d5", MODEL, "model that learns functions in context"),
    Key("pick", "", text(most=100), "algorithm or target that is looked at"),
    Key("fn", "", TASK, "class of functions, with its options"),
    Key("run", "", RUN, "a run folder"),
    Key("arch", "gpt", text(r"[\w-]+"), "architecture"),
    Key("fam", "", text(r"[\w -]+"), "family of architectures"),
    Key("mod", "", text(r"[\w -]+"), "what architectures read"),
    Key("mix", "", text(r"[\w-]+"), "how architectures mix positions"),
    Key("prog", "hist", RUN, "program: one that ships, or a run folder"),
    Key("tok", "", text(r"[^\x00-\x1f]+", 300), "sequence of tokens, words apart by blanks"),
    Key("lib", "reverse", text(r"[\w-]+"), "program of the library, to compile"),
    Key("voc", "", text(r"[^\x00-\x1f]+", 100), "vocabulary of a compiled program"),
    Key("len", 5, number(1, 12), "longest sequence of a compiled program"),
    Key("code", "", text(r"[\w.]+:\d+:\d+"), "code of a book: site:group:number"),
    Key("say", "", text(r"[^\x00]*", 400), "text that a model with codes reads and continues"),
    Key("b.arch", "", text(r"[\w-]+"), "architecture on side B"),
    Key("b.m", "", MODEL, "model on side B of a comparison"),
    Key("b.t", "", TASK, "task on side B"),
    Key("b.run", "", RUN, "run folder on side B"),
    Key("b.h", "", NODES, "selected nodes on side B"),
    Key("v", 1, number(1, 1), "version of these keys"),
)}


def begin() -> None:
    """Read the URL into the state, then write the state into the URL. Once at the start of every script run.

    A key that is not in the URL keeps its value: going to another page by the sidebar empties the URL, not the state.
    """
    values, written, notices = _store("values"), _store("written"), []
    for name, key in KEYS.items():
        raw = st.query_params.get(name)
        if raw is None or raw == written.get(name):
            continue
        values.pop(name, None)
        try:
            if raw:
                values[name] = key.read(raw)
        except ValueError as error:
            notices.append(f"{name}={raw[:40]!r} in the address is {error}; {key.about}: "
                           f"{key.default if key.default != '' else 'none'}")
    st.session_state["state.notices"] = notices
    _write()


def notices() -> list[str]:
    """What could not be read of the URL in this run, a sentence each."""
    return st.session_state.get("state.notices", [])


def get(name: str) -> Any:
    """The value of a key."""
    return _store("values").get(name, KEYS[name].default)


def put(**values: Any) -> None:
    """Change keys, given as keywords (`b_run` is `b.run`); the URL follows. A value that cannot be read is an error."""
    for name, value in values.items():
        key = KEYS[_dotted(name)]
        _store("values")[key.name] = key.read(str(value)) if str(value) else key.default
    _write()


def forget(*names: str) -> None:
    """Put keys back to their defaults."""
    for name in names:
        _store("values").pop(name, None)
    _write()


def nodes() -> list[str]:
    """The labels of the selected nodes."""
    return [label for label in re.split(r",(?![^\[]*\])", get("h")) if label]


def choose(name: str, label: str, options: Sequence[Any], *, widget: Callable[..., Any] | None = None,
           drop: Sequence[str] = (), **more: Any) -> Any:
    """A widget over `options` for a key; choosing writes the key and puts the keys `drop` back to their defaults.

    `widget` is st.selectbox, st.radio, st.segmented_control ... A value that is no option gives the first one.
    """
    widget = widget or st.selectbox
    now, at = get(name), f"choose.{name}"
    options = list(options)
    if now not in options:
        now = options[0]
    if st.session_state.get(at) != now:
        st.session_state[at] = now

    def changed() -> None:
        value = st.session_state[at]
        if value is not None:  # a segmented control lets go of its option when it is clicked again
            _take(name, value, label, drop)

    widget(label, options, key=at, on_change=changed, **more)
    return now


def field(name: str, label: str, *, widget: Callable[..., Any] | None = None, drop: Sequence[str] = (),
          **more: Any) -> Any:
    """A text or number field for a key; `widget` is st.text_input, st.number_input, st.text_area, st.slider ..."""
    at = f"field.{name}"
    if st.session_state.get(at) != get(name):
        st.session_state[at] = get(name)

    def changed() -> None:
        _take(name, st.session_state[at], label, drop)

    (widget or st.text_input)(label, key=at, on_change=changed, **more)
    return get(name)


def _take(name: str, value: Any, label: str, drop: Sequence[str]) -> None:
    """What was typed or chosen, as the value of a key; what cannot be read is remembered for a card."""
    before = get(name)
    try:
        put(**{name: value})
    except ValueError as error:
        st.session_state["state.refused"] = f"{label}: {str(value)[:60]!r} is {error}"
        return
    if get(name) != before:
        forget(*drop)


def refused() -> str:
    """Why the last thing that was typed was not taken; empty where it was."""
    return st.session_state.pop("state.refused", "")


def query(**changes: Any) -> dict[str, str]:
    """The parameters of a link that keeps the state and changes some keys."""
    values = {name: str(value) for name, value in _store("values").items() if value != KEYS[name].default}
    # a key put back to its default is written empty, or the state of this session would go on
    return values | {_dotted(name): "" if value == KEYS[_dotted(name)].default else str(value)
                     for name, value in changes.items()}


def link(page: str, label: str, *, icon: str | None = None, help: str | None = None, width: str = "content",
         **changes: Any) -> None:
    """A link to a page that keeps the state but for `changes`; nothing where there is no such page (yet)."""
    from apps.dashboard.pages import target, there

    if not there(page):
        return
    st.page_link(target(page), label=label, icon=icon, help=help, width=width, query_params=query(**changes))


def go(page: str, **changes: Any) -> None:
    """Go to a page now."""
    from apps.dashboard.pages import target

    st.switch_page(target(page), query_params=query(**changes))


def _dotted(name: str) -> str:
    return name if name in KEYS else name.replace("_", ".", 1)


def _store(part: str) -> dict[str, Any]:
    return st.session_state.setdefault(f"state.{part}", {})


def _write() -> None:
    """The URL holds what differs from the defaults, and what is not ours is left alone."""
    values = {name: str(value) for name, value in _store("values").items() if value != KEYS[name].default}
    for name in KEYS:
        if name in values:
            if st.query_params.get(name) != values[name]:
                st.query_params[name] = values[name]
        elif name in st.query_params:
            del st.query_params[name]
    st.session_state["state.written"] = values
