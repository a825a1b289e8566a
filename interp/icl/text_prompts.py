"""Classes of functions as text for language models (Bhattamishra et al. 2023, arXiv 2310.03016, section 5).

    Input: 0 1 1 0             points are written out, labels are one token each
    Label: True                real values: numbers in, a digit 0 to 9 out (4.5 + 2 y / standard deviation, rounded)

One forward of a prompt of n examples gives the answer at every number of examples. For labels the two log-probabilities
are compared; for real values the prediction is the mean digit under the probabilities of the ten.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.hooks.baselines import rows as input_rows
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress
from interp.tasks.functions.episodes import Episodes, FunctionTask
from interp.tasks.text import batch, encode

if TYPE_CHECKING:
    import plotly.graph_objects as go

DIGITS = tuple("0123456789")
MIDDLE, STEPS = 4.5, 2.0  # of the ten levels, in standard deviations of y


@dataclass(frozen=True)
class Style:
    """How examples are written: `question` around the point, whose coordinates are joined by a blank and are `values`
    (of -1 and +1) or numbers with `decimals`; `labels` of -1 and +1, or ten of them for real values."""

    question: str = "Input: {x}\nLabel:"
    labels: tuple[str, ...] = (" False", " True")
    values: tuple[str, str] | None = ("0", "1")
    decimals: int = 1
    end: str = "\n\n"

    def point(self, x: Tensor) -> str:
        """One point [d] as text. Raises BadInput for other values than -1 and +1 where those have words."""
        if self.values is None:
            return " ".join(f"{v:.{self.decimals}f}" for v in x.tolist())
        if not bool((x.abs() == 1).all()):
            raise BadInput("a point has coordinates other than -1 and +1; give Style(values=None) to write numbers")
        return " ".join(self.values[int(v > 0)] for v in x.tolist())


REAL = Style(question="Input: {x}\nOutput: ", labels=DIGITS, values=None)


def levels(ys: Tensor, scale: float) -> Tensor:
    """Real values as digits 0 to 9; `scale` is their mean square."""
    return (MIDDLE + STEPS * ys / scale**0.5).round().clamp(0, 9).long()


@dataclass(frozen=True, eq=False)
class Rendered:
    """Text prompts as tokens: `x` the model's input, `at` [prompt, k] the positions whose next token is the label,
    `options` the token ids of the labels, `labels` [prompt, k] which of them is right, `text` of the first prompt."""

    x: Any
    at: Tensor
    options: Tensor
    labels: Tensor
    text: str


def render(tokenizer: Any, episodes: Episodes, task: FunctionTask, style: Style) -> Rendered:
    """Episodes as tokens. Raises BadInput where a label is not one token, or tokens would merge across a border."""
    options = torch.tensor([_label(tokenizer, style, label) for label in style.labels])
    labels = (episodes.ys > 0).long() if task.labels == "sign" else levels(episodes.ys, task.scale)
    rows, ends, first = [], [], ""
    for xs, row in zip(episodes.xs, labels.tolist()):
        ids = encode(tokenizer, "", special=True)
        text, at = "", []
        for i, (x, label) in enumerate(zip(xs, row)):
            question = (style.end if i else "") + style.question.format(x=style.point(x))
            ids += encode(tokenizer, question)
            at.append(len(ids) - 1)
            ids.append(int(options[label]))
            text += question + style.labels[label]
        if ids != encode(tokenizer, text, special=True):
            raise BadInput(f"this tokenizer merges tokens across the borders of {text[:60]!r}...; change the style, so "
                           "that labels begin with a blank or stand behind one")
        first = first or text
        rows.append(ids)
        ends.append(at)
    x, start = batch(rows, tokenizer)
    return Rendered(x, torch.tensor(ends) + start[:, None], options, labels, first)


def _label(tokenizer: Any, style: Style, label: str) -> int:
    question = style.question.format(x="")
    before, both = encode(tokenizer, question), encode(tokenizer, question + label)
    if len(both) != len(before) + 1:
        raise BadInput(f"the label {label!r} is {len(both) - len(before)} tokens behind {question!r}; it must be one")
    return both[-1]


@dataclass(frozen=True, eq=False)
class TextCurve:
    """How a language model does on a class of functions in text. `losses[predictor]` [prompt, k]: 0 or 1 (wrong) for
    labels, squared error over the mean square for real values; "model" is one of them. `unseen` [prompt, k]: points not
    shown before; `mass` [prompt, k]: probability that the model gives to the labels together."""

    model: str
    task: str
    d: int
    losses: dict[str, np.ndarray]
    unseen: Bool[np.ndarray, "prompt k"]
    mass: np.ndarray
    sign: bool
    text: str
    seed: int

    def mean(self, predictor: str, *, against: str | None = None, since: int = 0, unseen: bool = False) -> Estimate:
        """Accuracy (or error), or its difference to another predictor's, over k >= `since`, prompts resampled."""
        values = self._good(predictor) - (0.0 if against is None else self._good(against))
        chosen = self.unseen[:, since:] if unseen else np.ones_like(self.unseen[:, since:])
        keep = chosen.any(1)
        row = (values[:, since:] * chosen).sum(1)[keep] / chosen.sum(1)[keep]
        return bootstrap_mean(row, seed=self.seed)

    def _good(self, predictor: str) -> np.ndarray:
        return 1 - self.losses[predictor] if self.sign else self.losses[predictor]

    def frame(self) -> pd.DataFrame:
        """One row a predictor and number of examples k: accuracy (labels) or error (real values) with its interval."""
        rows = []
        for name in self.losses:
            for k, column in enumerate(self._good(name).T):
                e = bootstrap_mean(column, seed=self.seed, draws=500)
                rows.append({"predictor": name, "k": k, "value": e.value, "low": e.low, "high": e.high})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "task": self.task, "d": self.d, "seed": self.seed,
                        "units": {"value": "accuracy" if self.sign else "squared error / mean square"}}
        return frame

    def figure(self) -> "go.Figure":
        """The curves by number of examples, with intervals over prompts."""
        figure, table = None, self.frame()
        for name in self.losses:
            part = table[table["predictor"] == name]
            figure = plots.curve_with_band(part["k"], part["value"], part["low"], part["high"], name=name,
                                           title=f"{self.model} on {self.task} in text, d = {self.d}",
                                           x_title="examples shown", y_title=table.attrs["units"]["value"],
                                           figure=figure)
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views(f"text_{self.task}_{self.d}", self)


def text_curve(
    model: HookedModel, task: FunctionTask, n: int = 16, prompts: int = 32, seed: int = 0, *,
    style: Style | None = None, at_once: int = 2,
) -> TextCurve:
    """A language model on `prompts` prompts of n examples of a class of functions, beside nearest neighbour, averaging
    and a constant (label -1, value 0).

    Raises BadInput for a model without a tokenizer, and as `render`.
    """
    from interp.icl import baselines

    if model.tokenizer is None:
        raise BadInput(f"{model.name} has no tokenizer; text prompts need a language model")
    style = style or (Style() if task.labels == "sign" else REAL)
    episodes = task.sample(prompts, n, seed)
    shown = render(model.tokenizer, episodes, task, style)
    sign = task.labels == "sign"
    logs = [_read(model, shown, slice(i, i + at_once)) for i in progress(range(0, prompts, at_once), "text prompts")]
    log_p = torch.cat(logs).double()
    ys = episodes.ys.double() if sign else (shown.labels - MIDDLE) / STEPS * task.scale**0.5
    xs = episodes.xs.double() if style.values else episodes.xs.double().round(decimals=style.decimals)
    said = {
        "model": 2.0 * (log_p[..., 1] > log_p[..., 0]) - 1 if sign else _expected(log_p) * task.scale**0.5,
        "nearest neighbour": baselines.nearest_neighbours(xs, ys, 1),
        "averaging": baselines.averaging(xs, ys),
        "constant": torch.full_like(ys, -1.0) if sign else torch.zeros_like(ys),
    }
    losses = {name: ((torch.where(y > 0, 1.0, -1.0) != ys).double() if sign else (y - ys) ** 2 / task.scale).numpy()
              for name, y in said.items()}
    same = (xs[:, :, None] == xs[:, None]).all(-1) & torch.ones(n, n, dtype=torch.bool).tril(-1)
    return TextCurve(model.name, task.name, task.d, losses, (~same.any(-1)).numpy(),
                     log_p.exp().sum(-1).numpy(), sign, shown.text, seed)


def _read(model: HookedModel, shown: Rendered, part: slice) -> Float[Tensor, "prompt k label"]:
    """Log-probabilities of the labels."""
    with torch.no_grad():
        logits = model(input_rows(shown.x, part))
    at = shown.at[part]
    picked = logits[torch.arange(len(at))[:, None], at]
    return picked.log_softmax(-1)[..., shown.options]


def _expected(log_p: Tensor) -> Tensor:
    """The mean level under the ten probabilities, in standard deviations of y."""
    p = log_p.softmax(-1)
    return ((p * torch.arange(10.0, dtype=p.dtype)).sum(-1) - MIDDLE) / STEPS
