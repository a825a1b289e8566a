"""Every method that scores nodes, by name: what it computes in a line, and the function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from interp.discovery.atp_star import atp_star_scores
from interp.discovery.auto import auto_scores
from interp.discovery.iterated import iterated_scores
from interp.discovery.nodes import source
from interp.effects import RULE_SETS, effects, rule_set
from interp.effects.linear_rules import TANGENT
from interp.effects.linearised import gradients
from interp.hooks import Counterfactual, HookedModel, Patch, Source
from interp.hooks.baselines import rows as take
from interp.results import BadInput, Node
from interp.results.errors import nearest
from interp.results.progress import progress
from interp.tasks.metrics import rows_of

Scored = tuple[np.ndarray, dict]


@dataclass(frozen=True)
class Question:
    """What is scored: nodes of a model on one part of a task, put at its counterfactual."""

    model: HookedModel
    part: Any
    universe: Sequence[Node]
    budget: int
    seed: int
    rows: int | None = None
    done: Any = None

    @property
    def sources(self) -> list[Source]:
        return [source(node) for node in self.universe]

    @property
    def baseline(self) -> Counterfactual:
        return Counterfactual(self.part.corrupt)


def node_scores(method: str, question: Question) -> Scored:
    """(score per node [node] in the metric's unit or, for controls, none, facts about how it was computed).

    Raises BadInput for an unknown method, naming the nearest.
    """
    check_method(method)
    return _FUNCTIONS.get(method, lambda q: _rule_set(q, method))(question)


def check_method(method: str) -> None:
    """Raise BadInput for a method that there is not."""
    if method not in METHODS:
        raise BadInput(f"there is no method {method!r}.{nearest(method, METHODS)} There are: {', '.join(METHODS)}")


def _rule_set(q: Question, rules: str) -> Scored:
    found = effects(
        q.model, q.part.clean, q.sources, q.part.metric, rules, baseline=q.baseline, rows=q.rows, done=q.done
    )
    return found.values.double().mean(1).numpy(), {
        "forwards": found.cost["forwards"], "limits": rule_set(rules).limits,
    }


def _auto(q: Question) -> Scored:
    return auto_scores(q.model, q.part, q.sources, baseline=q.baseline, budget=q.budget, seed=q.seed, rows=q.rows,
                       done=q.done)


def _head_by_head(q: Question) -> Scored:
    values = head_by_head(q.model, q.part, q.universe)
    return values.mean(1), {"forwards": float(2 + len(q.universe))}


def head_by_head(model: HookedModel, task, nodes: Sequence[Node]) -> np.ndarray:
    """The oracle: one plain forward per node and prompt, [node, prompt]. Slow, and nothing to be wrong in it."""
    found = np.zeros((len(nodes), len(task)))
    for b in progress(range(len(task)), "head by head"):
        x, metric = take(task.clean, slice(b, b + 1)), rows_of(task.metric, [b])
        other = model.read(take(task.corrupt, slice(b, b + 1)), list({n.site for n in nodes}))
        with torch.no_grad():
            with model.edit():  # so that both runs compute norms in one precision
                clean = float(metric(model(x)))
            for i, node in enumerate(nodes):
                with model.edit(Patch(node.site, other[node.site], head=node.head, pos=node.pos)):
                    found[i, b] = clean - float(metric(model(x)))
    return found


def _gradient_norm(q: Question) -> Scored:
    """Size of the gradient at the node, whatever its change is: what attribution adds to it is the change."""
    sites = list(dict.fromkeys(node.site for node in q.universe))
    _, values, grads = gradients(q.model, q.part.clean, sites, q.part.metric, TANGENT)
    lengths, batch = q.model.lengths(q.part.clean), q.model.batch_of(q.part.clean)[0]
    rows = []
    for one in q.sources:
        mask = one.mask(q.model.site(one.site), values[one.site], lengths)
        rows.append(torch.where(mask, grads[one.site], 0).reshape(batch, -1).norm(dim=1).mean())
    return torch.stack(rows).double().numpy(), {"forwards": 3.0}


def _random(q: Question) -> Scored:
    return np.random.default_rng(q.seed).standard_normal(len(q.universe)), {"forwards": 0.0}


_FUNCTIONS: dict[str, Callable[[Question], Scored]] = {
    "auto": _auto,
    "atp-star": lambda q: atp_star_scores(q.model, q.part, q.universe),
    "cdt-iterated": lambda q: iterated_scores(q.model, q.part, q.universe, q.sources, baseline=q.baseline),
    "head-by-head": _head_by_head,
    "gradient-norm": _gradient_norm,
    "random": _random,
}
METHODS = {
    "auto": "exact in both directions up to the budget, else a shortlist confirmed so, with a bound on what was missed",
    **{name: rules.computes for name, rules in RULE_SETS.items()},
    "atp-star": "tangent with queries and keys patched through their softmax, block by block dropped from the gradient",
    "cdt-iterated": "the paper's search: cdt from the metric, then from the queries, keys and values of what was found",
    "head-by-head": "the oracle of ablation: a plain forward per node and prompt",
    "gradient-norm": "a control: size of the gradient, whatever the node changes",
    "random": "a control: seeded random scores",
}
