"""`Task`: prompts with their counterfactuals, a metric, and the parts they are split into."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.hooks.baselines import rows as input_rows
from interp.hooks.index import Lengths
from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate
from interp.results.rows import cluster_numbers
from interp.tasks.metrics import Metric, rows_of
from interp.tasks.splits import PARTS, split_by_cluster
from interp.tasks.text import Inputs

if TYPE_CHECKING:
    from interp.tasks.audit import Audit


@dataclass(frozen=True, eq=False)
class Task:
    """Clean and corrupt prompts, aligned row for row and token for token, and what is measured on them.

    `clean` and `corrupt` are token ids [batch, pos], a mapping with `input_ids` and `attention_mask` where lengths
    differ, or pixels [batch, channels, height, width]. `metric(output) -> [batch]`. `prompts` has one readable row per
    prompt. `clusters` [batch] numbers what is independent (template x content): the unit that is resampled and split.
    `split` gives the rows of "discover", "select" and "test". `baseline` names what an ablated activation is replaced
    by unless said otherwise: "counterfactual" is the activation of the corrupt prompt. `content` names the columns of
    `prompts` whose values no two parts share. `readings` are measurements of the model that belong to the task without
    being causal (what a published head attends to): name -> function of the model to an Estimate.
    Raises BadInput where these do not fit together, or where a cluster is in two parts.
    """

    name: str
    clean: Inputs
    corrupt: Inputs
    metric: Metric
    prompts: pd.DataFrame
    clusters: np.ndarray
    split: dict[str, np.ndarray]
    baseline: str = "counterfactual"
    content: tuple[str, ...] = field(default=())
    readings: Mapping[str, Callable[[Any], Estimate]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "clusters", np.asarray(self.clusters))
        object.__setattr__(self, "split", {p: np.asarray(self.split.get(p, ()), dtype=int) for p in PARTS})
        clean, corrupt = (ids_of(x).shape for x in (self.clean, self.corrupt))
        if clean != corrupt:
            raise BadInput(f"clean and corrupt differ in shape, {list(clean)} and {list(corrupt)} (batch, tokens)")
        if not len(self.prompts) == len(self.clusters) == clean[0]:
            raise BadInput(
                f"{clean[0]} prompts come with {len(self.clusters)} clusters and {len(self.prompts)} rows of the table"
            )
        missing = [column for column in self.content if column not in self.prompts]
        if missing:
            raise BadInput(f"content names the column {missing[0]!r}, which the table of prompts does not have."
                           + nearest(missing[0], map(str, self.prompts.columns)))
        if not np.array_equal(np.sort(np.concatenate(list(self.split.values()))), np.arange(clean[0])):
            raise BadInput("the parts of a split must hold every prompt exactly once")
        owner: dict[int, str] = {}
        for part, rows in self.split.items():
            for cluster in self.clusters[rows].tolist():
                if owner.setdefault(cluster, part) != part:
                    raise BadInput(f"cluster {cluster} is in {owner[cluster]} and in {part}; split by cluster")

    def __len__(self) -> int:
        return len(self.clusters)

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(rows)} {part}" for part, rows in self.split.items())
        return f"Task({self.name}: {len(self)} prompts in {len(np.unique(self.clusters))} clusters; {parts})"

    @property
    def lengths(self) -> Lengths:
        """Where the real tokens of every clean prompt are; the corrupt ones have the same."""
        ids = ids_of(self.clean)
        mask = None if isinstance(self.clean, Tensor) else self.clean.get("attention_mask")
        return Lengths.of(*ids.shape[:2], mask)

    def part(self, name: str) -> "Task":
        """The task on the prompts of one part: "discover", "select" or "test".

        Raises BadInput for another name, and for a part without prompts.
        """
        if name not in self.split:
            raise BadInput(f"{name!r} is no part of a task; there are {', '.join(PARTS)}.{nearest(name, PARTS)}")
        if not len(self.split[name]):
            raise BadInput(
                f"the {name} part of {self.name} is empty: it has {len(np.unique(self.clusters))} clusters here; "
                "three or more are shared out over all parts"
            )
        return self.rows(self.split[name])

    def rows(self, index: Any) -> "Task":
        """The task on some of its prompts, in the order of `index` (a slice, booleans, or different row numbers)."""
        chosen = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index)]
        picked = torch.as_tensor(chosen)
        return replace(
            self,
            clean=input_rows(self.clean, picked),
            corrupt=input_rows(self.corrupt, picked),
            metric=rows_of(self.metric, picked),
            prompts=self.prompts.iloc[chosen].reset_index(drop=True),
            clusters=self.clusters[chosen],
            split={part: np.flatnonzero(np.isin(chosen, rows)) for part, rows in self.split.items()},
        )

    def audit(self, model: Any = None) -> "Audit":
        """What could be wrong with the task, checked; with a model, also how it fares on it."""
        from interp.tasks.audit import audit

        return audit(self, model)

    @classmethod
    def from_pairs(
        cls,
        pairs: pd.DataFrame | Sequence[Mapping[str, Any]],
        metric: Metric | None = None,
        *,
        tokenizer: Any,
        name: str = "pairs",
        seed: int = 0,
        content: Sequence[str] = (),
    ) -> "Task":
        """Your own task from a table with the columns clean, corrupt, answer, wrong and, if you like, cluster, split.

        Answers are written as they would follow the prompt, with their leading space. Without a `metric` it is the
        logit of the answer minus that of the wrong answer, read at the last token of the prompt, or at its mask token
        where it has one; with your own, the answer columns are not needed. Rows without a `cluster` are their own,
        unless they hold the same two prompts. Splits are drawn by cluster from `seed` unless given.
        Raises BadInput, naming the row, for a missing column, an empty prompt, prompts of different token length and
        answers that are not one token.
        """
        from interp.tasks.pairs import read_pairs

        table, clean, corrupt, own = read_pairs(pairs, tokenizer, with_answers=metric is None)
        clusters = cluster_numbers(table["cluster"], len(table))
        if "split" in table:
            split = {part: np.flatnonzero(table["split"] == part) for part in PARTS}
        else:
            split = split_by_cluster(clusters, np.random.default_rng(seed))
        return cls(name, clean, corrupt, metric or own, table, clusters, split, content=tuple(content))


def ids_of(inputs: Inputs) -> Tensor:
    """The token ids [batch, pos] of an input; pixels as they are."""
    return inputs if isinstance(inputs, Tensor) else inputs["input_ids"]
