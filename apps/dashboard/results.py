"""What pages compute, each once for the same question: calls of the library that give tables and arrays.

    q = results.Question.now()      model, task, n, seed and own prompts as they are in the URL
    results.effects_of(q, "ablation")  ->  table of nodes with effect, low, high

To add one: a function of plain values under `st.cache_data`, which opens the model with `access.model(name)`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from apps.dashboard import access, state

EXACT = 1.0e11
"""Parameters x nodes x prompts x positions up to which every node's exact effect is computed while one waits."""
GRADIENT = 1.2e10
"""Parameters x prompts x positions for one backward pass while one waits."""
RULES = {"effect": "ablation", "gradient": "tangent", "direct": "direct"}


@dataclass(frozen=True)
class Question:
    """What is asked of which model; everything that a result depends on but its own arguments."""

    model: str
    task: str
    n: int
    seed: int
    clean: str = ""
    corrupt: str = ""

    @classmethod
    def now(cls) -> "Question":
        """As it is in the URL."""
        return cls(state.get("m"), state.get("t"), state.get("n"), state.get("seed"), state.get("p"), state.get("c"))

    @property
    def own(self) -> bool:
        """Whether the prompts are the user's."""
        return bool(self.clean or self.corrupt)

    def prompts(self) -> Any:
        """The task, or the pair that was typed. Raises BadInput."""
        from interp.lens.look import pair

        if not self.own:
            return access.prompts(self.model, self.task)
        with access.model(self.model) as model:
            return pair(model, self.clean, self.corrupt)

    def code(self) -> str:
        """The first lines of a script that asks the same."""
        made = (f"from interp.lens.look import pair\n\ntask = pair(model, {self.clean!r}, {self.corrupt!r})" if self.own
                else f"task = interp.task({self.task!r}, model=model, n={self.n}, seed={self.seed})")
        return f"import interp\n\nmodel = interp.load({self.model!r})\n{made}\n"


@dataclass(frozen=True)
class Shown:
    """One prompt pair: its tokens, where it is asked, what was asked, the metric on both, pixels where it is an image.

    `clean_next` and `corrupt_next` are tables of the likeliest answers, None for a model of features.
    """

    tokens: list[str]
    corrupt_tokens: list[str]
    at: int
    facts: dict[str, str]
    clean: float
    corrupt: float
    unit: str
    rows: int
    pixels: np.ndarray | None
    corrupt_pixels: np.ndarray | None
    patches: tuple[int, int | None]
    clean_next: pd.DataFrame | None
    corrupt_next: pd.DataFrame | None


@st.cache_data(max_entries=64, show_spinner="Running the prompt ...")
def shown(q: Question, row: int) -> Shown:
    """The prompt pair `row` of a question."""
    from interp.lens import look

    task = q.prompts()
    one = one_of_task(task, row)
    with access.model(q.model) as model:
        words = [look.tokens(model, side) for side in (one.clean, one.corrupt)]
        at = look.asked_at(one) % len(words[0])
        image, says = look.reads(model) == "pixels", model.map.unembed is not None
        pixels = [look.pixels(side) if image else None for side in (one.clean, one.corrupt)]
        following = [look.next_tokens(model, side, at) if says else None for side in (one.clean, one.corrupt)]
        values = look.measured(model, one)
        layout = look.patches(len(words[0])) if image else (0, None)
    facts = {str(k): str(v) for k, v in one.prompts.iloc[0].items() if k not in ("clean", "corrupt", "clean_ids",
             "corrupt_ids", "cluster")}
    return Shown(words[0], words[1], at, facts, values[0], values[1], getattr(task.metric, "unit", ""), len(task),
                 pixels[0], pixels[1], layout, following[0], following[1])


@st.cache_data(max_entries=64, show_spinner="Measuring every node ...")
def effects_of(q: Question, rules: str, baseline: str = "counterfactual") -> pd.DataFrame:
    """Every head, mixer and MLP with its effect on the discover prompts; `attrs` say rules, unit, prompts and note.

    "ablation" becomes "tangent" where exact effects would take too long, and prompts are left out where even that
    would: `attrs["note"]` says so.
    """
    from interp.discovery.knock_out import named_baseline
    from interp.discovery.nodes import nodes, source
    from interp.effects import effects

    part = q.prompts().part("discover")
    with access.model(q.model) as model:
        found = nodes(model)
        size = sum(p.numel() for p in model.parameters()) * max(1, model.batch_of(part.clean)[1])
        note = ""
        if rules == "ablation" and size * len(found) * len(part) > EXACT:
            rules = "tangent"
            note = (f"{len(found)} nodes of a model this large would take minutes exactly: these are gradient "
                    "estimates; Knock out measures the chosen node exactly, and Find the circuit confirms them.")
        if rules != "ablation" and size * len(part) > GRADIENT:
            few = max(4, int(GRADIENT / size))
            if few < len(part):
                note = f"{note} {few} of {len(part)} prompts.".strip()
                part = part.rows(slice(0, few))
        done = effects(model, part.clean, [source(node) for node in found], part.metric, rules=rules,
                       baseline=named_baseline(baseline, part), clusters=part.clusters)
        frame = done.frame()
    frame["source"] = [node.label for node in found]
    frame["depth"] = [node.depth for node in found]
    frame = frame[["source", "depth", "effect", "low", "high", "largest", "site"]]
    frame.attrs |= {"rules": rules, "unit": getattr(part.metric, "unit", ""), "prompts": len(part), "note": note}
    return frame


@st.cache_data(max_entries=64, show_spinner="Attributing to tokens ...")
def tokens_of(q: Question, row: int, rules: str = "tangent") -> pd.DataFrame | None:
    """Every position of one prompt with the effect of its embedding on the metric; None without an embedding site."""
    from interp.effects import effects
    from interp.hooks import Counterfactual, Source

    one = one_of_task(q.prompts(), row)
    with access.model(q.model) as model:
        site = next((name for name in ("hook_embed", "encoder.hook_embed") if name in model.map.sites), None)
        if site is None:
            return None
        count = model.read(one.clean, site)[site].shape[1]
        done = effects(model, one.clean, [Source(site, pos=i) for i in range(count)], one.metric, rules=rules,
                       baseline=Counterfactual(one.corrupt))
    frame = pd.DataFrame({"position": range(count), "effect": done.frame()["effect"]})
    frame.attrs["unit"] = getattr(one.metric, "unit", "")
    return frame


@st.cache_data(max_entries=32, show_spinner="Reading patterns ...")
def patterns_of(q: Question, row: int) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """({node: weights [query, key]}, table of each one's weight on the token before and the first) of one prompt.

    Raises RequiresPattern for a model that mixes without either.
    """
    from interp.lens import look

    one = one_of_task(q.prompts(), row)
    with access.model(q.model) as model:
        found = look.patterns(model, one.clean)
    return {pattern.label: pattern.weights for pattern in found}, look.pattern_scores(found)


@st.cache_data(max_entries=64, show_spinner="Reading what it writes ...")
def writes_of(q: Question, row: int, node: str, position: int) -> pd.DataFrame:
    """The tokens that a node raises and lowers most at a position. Raises BadInput for a model of features."""
    from interp.lens import look
    from interp.results import Node

    one = one_of_task(q.prompts(), row)
    with access.model(q.model) as model:
        return look.writes(model, one.clean, Node.from_label(node), position)


@st.cache_data(max_entries=64, show_spinner="Knocking it out on prompts that were not looked at ...")
def knocked_out(q: Question, nodes: tuple[str, ...], baseline: str) -> Any:
    """`interp.discovery.knock_out` for labels of nodes."""
    from interp.discovery.knock_out import knock_out

    with access.model(q.model) as model:
        return knock_out(model, q.prompts(), [_node(model, label) for label in nodes], baseline, seed=q.seed)


@st.cache_data(max_entries=64, show_spinner=False)
def next_without(q: Question, row: int, nodes: tuple[str, ...], baseline: str, also: tuple[int, ...]) -> pd.DataFrame:
    """The likeliest next tokens of one prompt without some nodes, with the tokens `also` among them."""
    from interp.discovery.knock_out import named_baseline
    from interp.lens import look

    task = q.prompts()
    one = one_of_task(task, row)
    with access.model(q.model) as model:
        at = look.asked_at(one)
        put_at = named_baseline(baseline, task.part("discover")) if baseline in ("mean", "zero") else \
            named_baseline("counterfactual", one)
        return look.next_tokens(model, one.clean, at, without=[_node(model, label) for label in nodes], also=also,
                                baseline=put_at)


@st.cache_data(max_entries=64, show_spinner="Cutting it on prompts that were not looked at ...")
def cut(q: Question, edges: tuple[str, ...]) -> Any:
    """What cutting some edges together costs on the test prompts, as an Estimate; `edges` as `Edge.name`."""
    from interp.discovery.edge_runs import EdgeCircuits
    from interp.results import Edge, bootstrap_mean

    part = q.prompts().part("test")
    with access.model(q.model) as model:
        runs = EdgeCircuits(model, part)
        wanted = [Edge.parse(name) for name in edges]
        runs.graph.check(wanted)
        lost = runs.full - runs.remove([wanted])[0]
    return bootstrap_mean(lost, part.clusters, seed=q.seed)


def one_of_task(task: Any, row: int) -> Any:
    """One prompt of a task; the last for a row that is not there."""
    from interp.lens import look

    return look.one(task, min(row, len(task) - 1))


def _node(model: Any, label: str) -> Any:
    """The node of a label, which must exist in the model: errors name the nearest."""
    from interp.commands.opened import read_node

    return read_node(label, model)
