"""What Lens shows, as tables and arrays: every depth read at every position, and tokens followed over depth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, folders
from apps.dashboard.results import GRADIENT, Question, one_of_task

MORE = 5
"""Tokens for every channel of the stream that a tuned lens is fitted on."""
MOST = 1000
"""Prompts that are made for it at most."""


@dataclass(frozen=True)
class Read:
    """`values[measure]` [depth, position] in `units[measure]`; `first` and `hover` [depth][position] are text.

    `top[depth][position]` is [(id, token, probability)]; these three are None for a model of features. `frame` is the
    table that is exported, `depths` are names.
    """

    values: dict[str, np.ndarray]
    units: dict[str, str]
    first: list[list[str]] | None
    hover: list[list[str]] | None
    top: list[list[list[tuple[int, str, float]]]] | None
    frame: pd.DataFrame
    depths: list[str]


@dataclass(frozen=True)
class Tuned:
    """A tuned lens and where it is from: `code` makes it again, `about` says it in words."""

    lens: Any
    about: str
    code: str


@st.cache_data(max_entries=32, show_spinner="Reading every depth ...")
def read(q: Question, row: int, of: str, kind: str) -> Read:
    """Every depth of one prompt. Raises BadInput where `of` does not fit, RequiresResidualStream without a stream."""
    from interp.lens import logit_lens, readings, spoken
    from interp.lens.look import names
    from interp.lens.readings import MEASURES

    one = one_of_task(q.prompts(), row)
    through = tuned(q).lens if kind == "tuned" else None
    with access.model(q.model) as model:
        if says_numbers(q.model):
            return _numbers(spoken(model, one.clean, through=through)[..., 0])
        if model.map.unembed is None:
            lens = logit_lens(model, one.clean, through=through)
            values = {name: lens.values[name][:, 0].numpy() for name in ("distance", "cosine")}
            rows, columns = values["distance"].shape
            frame = pd.DataFrame({"site": np.repeat(lens.sites, columns), "depth": np.repeat(range(rows), columns),
                                  "position": np.tile(range(columns), rows)})
            frame = frame.assign(**{name: value.ravel() for name, value in values.items()})
            units = {"distance": "of the output's length", "cosine": "cosine"}
            return Read(values, units, None, None, None, frame, depth_names(len(lens.sites)))
        found = readings(model, one.clean, right_answer(one) if of == "task" else of, through=through)
        rows, columns, k = found.top.shape
        texts = np.array(names(model, found.top.ravel().tolist()), dtype=object).reshape(found.top.shape)
        wanted = names(model, found.targets.tolist())
    depths = depth_names(rows)
    top = [[[(int(found.top[r, c, i]), texts[r, c, i], float(found.top_probability[r, c, i])) for i in range(k)]
            for c in range(columns)] for r in range(rows)]
    rank, likely = found.values["rank"], found.values["probability"]
    hover = [["\n".join([f"{depths[r]}, position {c}: “{wanted[c]}” has place {rank[r, c]}, {likely[r, c]:.3g}",
                         *(f"{p:7.2%}  {token}" for _, token, p in top[r][c])])
              for c in range(columns)] for r in range(rows)]
    frame = found.frame()
    frame["target_token"] = np.tile(wanted, rows)
    frame["first_token"] = texts[..., 0].ravel()
    return Read(found.values, dict(MEASURES), [[shown(texts[r, c, 0]) for c in range(columns)] for r in range(rows)],
                hover, top, frame, depths)


def says_numbers(name: str) -> bool:
    """Whether a model answers with one number at every position, as those that read series do."""
    facts = access.facts(name)
    return facts["reads"] == "series" and facts["vocabulary"] is None


def _numbers(said: np.ndarray) -> Read:
    """The readings of a model that says a number, [depth, position]."""
    rows, columns = said.shape
    values = {"value": said, "distance": np.abs(said - said[-1])}
    frame = pd.DataFrame({"depth": np.repeat(range(rows), columns), "position": np.tile(range(columns), rows)})
    frame = frame.assign(**{name: value.ravel() for name, value in values.items()})
    return Read(values, {"value": "of the model's own scale", "distance": "of the model's own scale"}, None, None, None,
                frame, depth_names(rows))


@st.cache_data(max_entries=64, show_spinner="Following tokens ...")
def follow(q: Question, row: int, kind: str, position: int, ids: tuple[int, ...]) -> pd.DataFrame:
    """How the tokens `ids` fare over depth at one position of one prompt: id, token, depth, site, probability, rank."""
    from interp.lens import trajectory
    from interp.lens.look import names

    one = one_of_task(q.prompts(), row)
    through = tuned(q).lens if kind == "tuned" else None
    with access.model(q.model) as model:
        frame = trajectory(model, one.clean, ids, position, through=through)
        frame.insert(1, "token", names(model, frame["id"].tolist()))
    return frame


@st.cache_data(max_entries=64, show_spinner=False)
def asked(q: Question, row: int, typed: str) -> dict[int, str]:
    """{token id: what it is} of the task's right and wrong answer and of a token that was typed.

    Raises BadInput for a text that is not one token of the model.
    """
    from interp.results.errors import BadInput
    from interp.tasks.text import encode

    one, found = one_of_task(q.prompts(), row), {}
    for name, what in (("correct", "right answer"), ("target", "right answer"), ("wrong", "wrong answer")):
        if getattr(one.metric, name, None) is not None:
            found.setdefault(int(getattr(one.metric, name)[0]), what)
    if not typed:
        return found
    with access.model(q.model) as model:
        if typed.strip().isdecimal() and len(typed) < 10:
            ids, count = [int(typed)], model.map.d_vocab or 0
        elif model.tokenizer is None:
            raise BadInput(f"{model.name} has no tokenizer: write a token id, not {typed!r}")
        else:
            ids, count = encode(model.tokenizer, typed), 2**31
    if len(ids) != 1 or ids[0] >= count:
        raise BadInput(f"{typed!r} is {len(ids)} tokens of {q.model}; one is followed (write a space before a word)"
                       if len(ids) != 1 else f"token ids of {q.model} run from 0 to {count - 1}; {typed} was asked for")
    return found | {ids[0]: "typed"}


def right_answer(one: Any) -> int:
    """The id of a prompt's one right answer. Raises BadInput where the metric names none."""
    from interp.results.errors import BadInput

    ids = one.metric.answer_ids() if hasattr(one.metric, "answer_ids") else None
    if ids is None:
        raise BadInput(f"the metric of {one.name} names no single right token: ask for what the model says in the end")
    return int(ids[0])


# -- the tuned lens -------------------------------------------------------------------------------------------------


def tuned_run(model: str) -> str:
    """The newest run of a model that holds a tuned lens; "" where there is none."""
    frame = folders.listing()
    names = list(frame[frame["model"] == model]["run"]) if len(frame) else []
    return next((name for name in names if (folders.find(name) / "tuned_lens.json").is_file()), "")


@st.cache_data(max_entries=32, show_spinner=False)
def fits_now(q: Question) -> bool:
    """Whether a tuned lens of this model can be fitted on the task's prompts while one waits."""
    from interp.lens.look import one

    task = access.prompts(q.model, q.task)
    with access.model(q.model) as model:
        size = sum(p.numel() for p in model.parameters())
        positions = model.batch_of(one(task, 0).clean)[1]
    return size * q.n * positions <= GRADIENT


def tuned(q: Question) -> Tuned:
    """The tuned lens of a run of this model, else one fitted now on prompts of the task that are not shown.

    Raises BadInput where that would take long: the page offers a job.
    """
    from interp.results.errors import BadInput

    run = tuned_run(q.model)
    if run:
        path = folders.find(run)
        return _loaded(str(path), (path / "tuned_lens.json").stat().st_mtime, run)
    if not fits_now(q):
        raise BadInput(f"there is no tuned lens of {q.model} yet, and fitting one takes minutes: fit it as a job")
    return _fitted(q.model, q.task, q.n, q.seed + 1)


@st.cache_resource(max_entries=4, show_spinner=False)
def _loaded(path: str, changed: float, run: str) -> Tuned:
    from interp.lens import TunedLens

    lens = TunedLens.load(Path(path))
    return Tuned(lens, f"Fitted on {lens.n_tokens:,} tokens in the run {run}.",
                 f"from interp.lens import TunedLens\n\nlens = TunedLens.load({path!r})\n")


@st.cache_resource(max_entries=4, show_spinner="Fitting the tuned lens ...")
def _fitted(name: str, task: str, n: int, seed: int) -> Tuned:
    import interp
    from interp.lens import fit_tuned_lens

    count = max(10, n)
    with access.model(name) as model:
        lens = fit_tuned_lens(model, interp.task(task, model=model, n=count, seed=seed).clean)
        wanted = MORE * len(next(iter(lens.shifts.values())))
        if lens.n_tokens < wanted:
            count = min(MOST, -(-count * wanted // lens.n_tokens))
            lens = fit_tuned_lens(model, interp.task(task, model=model, n=count, seed=seed).clean)
    return Tuned(lens, f"Fitted on {lens.n_tokens:,} tokens of other prompts of this task (seed {seed}), a fifth of "
                 "them held out.",
                 "from interp.lens import fit_tuned_lens\n\n"
                 f"lens = fit_tuned_lens(model, interp.task({task!r}, model=model, n={count}, seed={seed}).clean)\n")


# -- names ----------------------------------------------------------------------------------------------------------


def depth_names(count: int) -> list[str]:
    """What stands before the first block and behind each: embedding, L0, L1 ..."""
    return ["embedding", *(f"L{i}" for i in range(count - 1))]


def shown(token: str) -> str:
    """A token as a cell shows it: what cannot be seen is drawn."""
    return token.replace("\n", "⏎").strip() or "·"
