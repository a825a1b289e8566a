"""`Dataset`: token sequences with labels in three parts that share no sequence, and how predictions are scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate
from interp.tasks.sequences.scores import span_f1, token_scores

IGNORE = -100

PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Examples:
    """Token ids [row, pos] with padding (id `pad`) behind them, labels [row, pos] (`IGNORE` where nothing is asked) or
    [row], and what each row belongs to, cluster [row]: rows of one cluster are not independent."""

    tokens: Int[Tensor, "row pos"]
    labels: Int[Tensor, "row *pos"]
    cluster: Int[np.ndarray, " row"]
    pad: int

    @property
    def mask(self) -> Bool[Tensor, "row pos"]:
        """True at real tokens."""
        return self.tokens != self.pad

    @property
    def lengths(self) -> Int[Tensor, " row"]:
        """Number of real tokens, specials included."""
        return self.mask.sum(1)

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, chosen: Any) -> "Examples":
        """Some of the rows, by index."""
        return Examples(self.tokens[chosen], self.labels[chosen], self.cluster[np.asarray(chosen)], self.pad)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A task with its examples.

    `vocab` and `labels` name the ids; the last word is "<pad>". `causal` says that a label depends on what stands
    before it only, `pooled` that a sequence has one label. `filler` is a label that says "no answer here", `spans` that
    labels are IOB2 tags.
    `drawn` says how the sequences were found. `begin`, `end` and `unknown` are words with a role, or None.
    """

    name: str
    vocab: tuple[str, ...]
    labels: tuple[str, ...]
    train: Examples
    val: Examples
    test: Examples
    sizes: Mapping[str, int]
    seed: int
    drawn: str
    causal: bool = False
    pooled: bool = False
    filler: str | None = None
    spans: bool = False
    begin: str | None = "<s>"
    end: str | None = None
    unknown: str | None = None
    unit: str = "sequences"
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Positions of a row, specials and padding included."""
        return self.train.tokens.shape[1]

    def part(self, name: str) -> Examples:
        """The part called `name`. Raises BadInput, with the names there are."""
        if name not in PARTS:
            raise BadInput(f"{self.name} has no part {name!r}.{nearest(str(name), PARTS)} It has: {', '.join(PARTS)}")
        return getattr(self, name)

    def score(self, predicted: Int[Tensor, "row *pos"], part: str = "test") -> dict[str, Estimate]:
        """How good label ids `predicted` are, shaped as the part's labels.

        "accuracy" is the share of labels that are right (of rows, for pooled tasks), its interval resampling whole
        clusters; "whole" the share of sequences without a mistake (exact binomial interval); "by_length" the mean over
        lengths of the accuracy at each, in which short sequences count as much as long ones; "answers" the accuracy
        without the filler label; "f1" (with "precision" and "recall") of strict IOB2 spans.
        Raises BadInput for another shape, or ids that are no labels.
        """
        examples = self.part(part)
        if predicted.shape != examples.labels.shape:
            raise BadInput(f"predictions have shape {list(predicted.shape)}; the labels of {self.name} {part} have "
                           f"{list(examples.labels.shape)}")
        asked = examples.labels != IGNORE
        if predicted.is_floating_point() or not ((predicted >= 0) & (predicted < len(self.labels)))[asked].all():
            raise BadInput(f"predictions must be label ids, 0 to {len(self.labels) - 1} ({self.name})")
        filler = None if self.filler is None else self.labels.index(self.filler)
        found = token_scores(predicted, examples.labels, asked, examples.lengths, examples.cluster, filler, self.unit)
        if self.spans:
            found |= span_f1(predicted, examples.labels, asked, self.labels, examples.cluster, self.unit)
        return found

    def words(self, row: Int[Tensor, " pos"]) -> list[str]:
        """The tokens of one row as text, without padding."""
        return [self.vocab[i] for i in row.tolist() if i != self.test.pad]
