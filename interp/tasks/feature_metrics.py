"""Metrics of features and classes, for models that do not predict tokens: a patch, an image, a sentence."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from interp.results.errors import BadInput
from interp.tasks.metrics import AtPosition, PerPrompt, pick


@dataclass(frozen=True, eq=False)
class Projection(AtPosition):
    """<feature - origin, direction> of the feature at `positions`; directions and origins are [batch, d].

    In the unit of whoever chose the directions: a class is told from another, 1 and -1 being their means. Right means
    above zero.
    """

    directions: Float[Tensor, "batch d"]
    origins: Float[Tensor, "batch d"]
    unit: ClassVar[str] = "half distances between the classes"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def read(self, at: Tensor) -> Tensor:
        return ((at - self.origins.to(at)) * self.directions.to(at)).sum(-1)

    def correct_at(self, at: Tensor) -> Tensor:
        return self.read(at) > 0


@dataclass(frozen=True, eq=False)
class ClassDiff(PerPrompt):
    """For classifiers, output [batch, class]: logit of class `correct` minus logit of class `wrong`; in logits. Right
    means above zero."""

    correct: Int[Tensor, " batch"]
    wrong: Int[Tensor, " batch"]
    unit: ClassVar[str] = "logits"
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def __call__(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """The metric of every prompt. Raises BadInput for an output of another shape."""
        if output.dim() != 2 or len(output) != len(self):
            raise BadInput(f"this metric is for {len(self)} inputs, [batch, class]; the output has shape "
                           f"{list(output.shape)}")
        return pick(output, self.correct) - pick(output, self.wrong)

    def accuracy(self, output: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        """1 where the logit of the correct class is above that of the wrong one, else 0."""
        return (self(output) > 0).to(output.dtype)


@dataclass(frozen=True, eq=False)
class Closeness(PerPrompt):
    """For encoders: cosine of the mean feature over `real` tokens with `right`, minus its cosine with `wrong`.

    Shapes: real [batch, pos], 1 at real tokens; right, wrong [batch, d], embeddings to compare with. Right means above
    zero.
    Paper: Reimers and Gurevych 2019, "Sentence-BERT", arXiv 1908.10084 (mean pooling, cosine).
    """

    real: Int[Tensor, "batch pos"]
    right: Float[Tensor, "batch d"]
    wrong: Float[Tensor, "batch d"]
    unit: ClassVar[str] = "cosine"
    bounds: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    def __call__(self, output: Float[Tensor, "batch pos d"]) -> Float[Tensor, " batch"]:
        """The metric of every prompt. Raises BadInput for an output of another shape."""
        if output.dim() != 3 or output.shape[:2] != self.real.shape:
            raise BadInput(f"this metric is for {list(self.real.shape)} prompts and tokens; the output has shape "
                           f"{list(output.shape)}")
        sentence = mean_pool(output, self.real)
        return cosine_similarity(sentence, self.right.to(output)) - cosine_similarity(sentence, self.wrong.to(output))

    def accuracy(self, output: Float[Tensor, "batch pos d"]) -> Float[Tensor, " batch"]:
        """1 where the sentence is nearer to `right` than to `wrong`, else 0."""
        return (self(output) > 0).to(output.dtype)


def mean_pool(features: Float[Tensor, "batch pos d"], real: Tensor) -> Float[Tensor, "batch d"]:
    """The mean feature over the tokens where `real` [batch, pos] is 1."""
    weight = real.to(features)[..., None]
    return (features * weight).sum(1) / weight.sum(1)
