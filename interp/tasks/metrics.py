"""Metrics: one number per prompt out of a model's output, larger meaning more of the behaviour.

A metric is called with the output, [batch, pos, vocab] -> [batch]. Most of the ones here read one position of each
prompt (`positions`, absolute, padding counted), so that an engine that has the output at these positions only can call
`read(at)` with [batch, vocab]. Any function of the output to [batch] is a metric elsewhere in the package too; what
it lacks is `rows`, so it must treat every row alike. All are differentiable, in any floating type.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.results.errors import BadInput

Metric = Callable[[Tensor], Tensor]


class PerPrompt:
    """What the metrics here share: a dataclass of per-prompt tensors (all fields but `_shared`), a unit and bounds."""

    unit: ClassVar[str]
    bounds: ClassVar[tuple[float, float]]
    _shared: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in self._per_prompt():
            value = torch.as_tensor(getattr(self, name)).cpu()
            if len(value) != len(self):
                raise BadInput(f"{type(self).__name__} has {len(value)} {name} for {len(self)} {self._per_prompt()[0]}")
            object.__setattr__(self, name, value)

    def _per_prompt(self) -> list[str]:
        return [field.name for field in fields(self) if field.name not in self._shared]

    def __len__(self) -> int:
        return len(getattr(self, self._per_prompt()[0]))

    def rows(self, index: Any) -> Self:
        """The same metric for the prompts that `index` (a slice, integers or booleans) selects, in its order."""
        return replace(self, **{name: getattr(self, name)[index] for name in self._per_prompt()})

    def accuracy(self, output: Tensor) -> Float[Tensor, " batch"]:
        """1 where the model is right, else 0; each metric says what counts as right."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class AtPosition(PerPrompt):
    """A metric of one position a prompt: `positions` says where each is read."""

    positions: Int[Tensor, " batch"]

    def __post_init__(self) -> None:
        if not len(self.positions) or int(torch.as_tensor(self.positions).min()) < 0:
            raise BadInput(f"{type(self).__name__} needs a position per prompt, counted from 0")
        super().__post_init__()

    def __call__(self, output: Float[Tensor, "batch pos vocab"]) -> Float[Tensor, " batch"]:
        """The metric of every prompt. Raises BadInput for an output of another batch or too few positions."""
        return self.read(self._at(output))

    def accuracy(self, output: Float[Tensor, "batch pos vocab"]) -> Float[Tensor, " batch"]:
        """1 where the model is right, else 0; what counts as right is said in `correct_at`."""
        return self.correct_at(self._at(output)).to(output.dtype)

    def _at(self, output: Tensor) -> Tensor:
        if output.dim() != 3 or len(output) != len(self):
            raise BadInput(
                f"this metric is for {len(self)} prompts, [batch, pos, vocab]; the output has shape "
                f"{list(output.shape)}. Use metric.rows(index) for some of the prompts."
            )
        if int(self.positions.max()) >= output.shape[1]:
            raise BadInput(
                f"the metric reads position {int(self.positions.max())}; the output has {output.shape[1]} positions"
            )
        return output[torch.arange(len(self), device=output.device), self.positions.to(output.device)]

    def read(self, at: Float[Tensor, "batch vocab"]) -> Float[Tensor, " batch"]:
        """The metric from the output at `positions` alone."""
        raise NotImplementedError

    def correct_at(self, at: Float[Tensor, "batch vocab"]) -> Tensor:
        """Boolean [batch]: where the model is right, from the output at `positions`."""
        raise NotImplementedError

    def answer_ids(self) -> Tensor | None:
        """[batch] the id of the one right token, or None where several are right."""
        return None


def pick(at: Float[Tensor, "batch vocab"], ids: Tensor) -> Float[Tensor, " batch"]:
    """The column that `ids` names in each row. Raises BadInput for a column that is not there."""
    if int(ids.max()) >= at.shape[-1]:
        raise BadInput(
            f"the metric reads token {int(ids.max())}; the output has {at.shape[-1]} columns. Is it the logits of the "
            "model that the task was made for?"
        )
    return at.gather(1, ids.to(at.device)[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class LogitDiff(AtPosition):
    """Logit of `correct` minus logit of `wrong`, token ids [batch]; in logits. Right means above zero."""

    correct: Int[Tensor, " batch"]
    wrong: Int[Tensor, " batch"]
    unit: ClassVar[str] = "logits"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def read(self, at: Tensor) -> Tensor:
        return pick(at, self.correct) - pick(at, self.wrong)

    def correct_at(self, at: Tensor) -> Tensor:
        return self.read(at) > 0

    def answer_ids(self) -> Tensor:
        return self.correct

    def top1(self, output: Float[Tensor, "batch pos vocab"]) -> Float[Tensor, " batch"]:
        """1 where the correct token has the largest logit of the whole vocabulary, else 0."""
        return (self._at(output).argmax(-1) == self.correct.to(output.device)).to(output.dtype)


@dataclass(frozen=True, eq=False)
class LogProb(AtPosition):
    """Log-probability of `target`, token ids [batch]; in nats. Right means the most probable token."""

    target: Int[Tensor, " batch"]
    unit: ClassVar[str] = "nats"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), 0.0)

    def read(self, at: Tensor) -> Tensor:
        return pick(at.log_softmax(-1), self.target)

    def correct_at(self, at: Tensor) -> Tensor:
        return at.argmax(-1) == self.target.to(at.device)

    def answer_ids(self) -> Tensor:
        return self.target


@dataclass(frozen=True, eq=False)
class ProbDiff(AtPosition):
    """Probability of one group of tokens minus that of another: a difference of probabilities, from -1 to 1.

    `groups` [batch, k] holds +1, -1 or 0 for each of the `tokens` [k]; probabilities are over the whole vocabulary.
    Right means above zero.
    Paper: Hanna et al. 2023, "How does GPT-2 compute greater-than?", arXiv 2305.00586.
    """

    groups: Int[Tensor, "batch k"]
    tokens: Int[Tensor, " k"]
    unit: ClassVar[str] = "probability"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    _shared: ClassVar[tuple[str, ...]] = ("tokens",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups.dim() != 2 or self.groups.shape[1] != len(self.tokens):
            raise BadInput(f"groups have shape {list(self.groups.shape)} for {len(self.tokens)} tokens: [batch, token]")

    def read(self, at: Tensor) -> Tensor:
        return (at.softmax(-1)[:, self.tokens.to(at.device)] * self.groups.to(at)).sum(-1)

    def correct_at(self, at: Tensor) -> Tensor:
        return self.read(at) > 0


def rows_of(metric: Metric, index: Any) -> Metric:
    """`metric.rows(index)`; a plain function, which has no rows of its own, is given back as it is."""
    return metric.rows(index) if isinstance(metric, PerPrompt) or hasattr(metric, "rows") else metric
