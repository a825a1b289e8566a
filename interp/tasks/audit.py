"""`audit`: what could be wrong with a task, each point checked and said in a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.hooks.baselines import rows as input_rows
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean, share
from interp.tasks.behaviour import CONTRAST, not_done
from interp.tasks.metrics import AtPosition, LogitDiff, LogProb, PerPrompt
from interp.tasks.task import Task, ids_of
from interp.tasks.text import Inputs, continuation, encode, mask_token

_CHUNK = 32  # prompts run at once: the logits of a real vocabulary are large
_NEAR = 0.01  # share of a metric's range that counts as being at its bound


@dataclass(frozen=True)
class Check:
    """One point: whether it holds, a number where there is one, and a sentence. Not `fatal`: a warning if not ok."""

    name: str
    ok: bool
    detail: str
    value: Estimate | float | None = None
    fatal: bool = True


@dataclass(frozen=True)
class Audit:
    """All checks of one task, with what `model` (its name, or "") does on it."""

    task: str
    model: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds but those that only warn."""
        return all(check.ok or not check.fatal for check in self.checks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not hold and leaves the task usable."""
        return tuple(check.detail for check in self.checks if not check.ok and not check.fatal)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def frame(self) -> pd.DataFrame:
        """One row per check: check, ok, fatal, value, low, high, detail."""
        numbers = [(c.value.value, c.value.low, c.value.high) if isinstance(c.value, Estimate)
                   else (c.value, None, None) for c in self.checks]
        return pd.DataFrame(
            [(c.name, c.ok, c.fatal, *number, c.detail) for c, number in zip(self.checks, numbers, strict=True)],
            columns=["check", "ok", "fatal", "value", "low", "high", "detail"],
        )

    def raise_if_failed(self) -> None:
        """Raises BadInput with the sentences of the checks that do not hold."""
        if not self.ok:
            wrong = "; ".join(c.detail for c in self.checks if not c.ok and c.fatal)
            raise BadInput(f"task {self.task!r} is not fit for use: {wrong}")


def audit(task: Task, model: Any = None) -> Audit:
    """The audit of `task`: of its prompts, and of what `model` does on them where one is given."""
    checks = [_lengths(task), _contrast(task), _duplicates(task), _splits(task), _leakage(task)]
    if model is not None:
        if getattr(model, "tokenizer", None) is not None:
            checks += _answers(task, model.tokenizer)
        checks += _behaviour(task, model)
    return Audit(task.name, getattr(model, "name", ""), tuple(checks))


def _lengths(task: Task) -> Check:
    if _is_image(task.clean):
        size = " x ".join(map(str, task.clean.shape[2:]))
        return Check("lengths", True, f"clean and corrupt are images of {size} pixels", 0)
    clean, corrupt = (_mask(x).sum(1) for x in (task.clean, task.corrupt))
    bad = (clean != corrupt).nonzero()[:, 0].tolist()
    if bad:
        row = bad[0]
        return Check("lengths", False, f"clean and corrupt differ in length in {len(bad)} prompts, first in {row}: "
                     f"{int(clean[row])} and {int(corrupt[row])} tokens", len(bad))
    spread = f"{int(clean.min())} to {int(clean.max())}" if clean.min() < clean.max() else str(int(clean[0]))
    return Check("lengths", True, f"clean and corrupt have equal lengths, {spread} tokens", 0)


def _contrast(task: Task) -> Check:
    different = ids_of(task.clean) != ids_of(task.corrupt)
    what = "pixels" if _is_image(task.clean) else "tokens"
    changed = (different.any(1) if _is_image(task.clean) else different & _mask(task.clean)).flatten(1).sum(1)
    same = int((changed == 0).sum())
    detail = f"a corrupt prompt differs in {changed.float().mean():.1f} {what} from its clean one"
    return Check("contrast", not same, f"{same} corrupt prompts equal their clean one" if same else detail,
                 float(changed.float().mean()))


def _duplicates(task: Task) -> Check:
    keys = _keys(task.clean)
    repeated = len(keys) - len(set(keys))
    detail = f"{repeated} of {len(keys)} clean prompts occur before: they count twice"
    return Check("duplicates", not repeated, detail if repeated else "no clean prompt occurs twice", repeated)


def _splits(task: Task) -> Check:
    counts = {part: len(np.unique(task.clusters[rows])) for part, rows in task.split.items()}
    text = ", ".join(f"{counts[part]} clusters ({len(rows)} prompts) to {part}" for part, rows in task.split.items())
    return Check("splits", all(counts.values()), text, min(counts.values()))


def _leakage(task: Task) -> Check:
    """Prompts, clean or corrupt, and values of the content columns, that more than one part has."""
    owners: dict[Any, set[str]] = {}
    prompts = list(zip(_keys(task.clean), _keys(task.corrupt), strict=True))
    for part, rows in task.split.items():
        for row in rows:
            for key in (*prompts[row], *(task.prompts[column].iloc[row] for column in task.content)):
                owners.setdefault(key, set()).add(part)
    leaked = [key for key, parts in owners.items() if len(parts) > 1]
    words = [key for key in leaked if isinstance(key, str)]
    detail = f"{len(leaked)} prompts or words are in more than one part" + (f", such as {words[0]!r}" if words else "")
    fine = "no prompt is in two parts" + (f", nor any {', '.join(task.content)}" if task.content else "")
    return Check("leakage", not leaked, detail if leaked else fine, len(leaked))


def _answers(task: Task, tokenizer: Any) -> list[Check]:
    """The written answers against the ids that the metric reads."""
    if not isinstance(task.metric, LogitDiff | LogProb) or "answer" not in task.prompts:
        return []
    columns = {"answer": task.metric.answer_ids().tolist()}
    if isinstance(task.metric, LogitDiff) and "wrong" in task.prompts:
        columns["wrong"] = task.metric.wrong.tolist()
    for column, ids in columns.items():
        for row, (prompt, answer) in enumerate(zip(task.prompts["clean"], task.prompts[column], strict=True)):
            masked = mask_token(tokenizer) is not None
            found = encode(tokenizer, answer) if masked else continuation(tokenizer, prompt, answer)
            if found != [ids[row]]:
                return [Check("answers", False, f"the {column} {answer!r} of prompt {row} is not the one token that "
                              "the metric reads")]
            if not masked and prompt[-1].isalpha() and answer[0].isalpha():
                return [Check("answers", False, f"the {column} {answer!r} of prompt {row} continues the word before "
                              f"it; write {' ' + answer!r}")]
    return [Check("answers", True, "every answer is the single token that the metric reads")]


def _behaviour(task: Task, model: Any) -> list[Check]:
    clean, right = measure(task, model, task.clean)
    corrupt, _ = measure(task, model, task.corrupt)
    unit = getattr(task.metric, "unit", "metric")
    gap = bootstrap_mean(clean - corrupt, task.clusters)
    said = f"{CONTRAST} is {gap} {unit}" if gap.low > 0 else not_done(model.name, task.name, gap, unit)
    checks = [Check("effect", gap.low > 0, said, gap)]
    if right is not None:
        accuracy = share(right, task.clusters)
        chance = 0.0 if isinstance(task.metric, LogProb) else 0.5
        good = accuracy.low > chance
        checks.append(Check("accuracy", good, f"the model is right on {accuracy}" + (
            "" if good else f", no better than {chance:g}"), accuracy))
    low, high = getattr(task.metric, "bounds", (-np.inf, np.inf))
    reach = _NEAR * (high - low if np.isfinite(high - low) else 1.0)
    near = float(((clean > high - reach) | (clean < low + reach)).mean())
    stuck = f"{100 * near:.0f} % of the prompts are within {reach:g} of a bound of the metric"
    saturated = "" if near <= 0.5 else ": small effects there are hidden, and gradients vanish"
    checks.append(Check("ceiling", near <= 0.5, stuck + saturated, near, fatal=False))
    if not isinstance(task.clean, Tensor):
        checks.append(_padding(task, model, clean))
    return checks


def _padding(task: Task, model: Any, padded: np.ndarray) -> Check:
    """The shortest prompt without its padding gives the metric it has with it."""
    lengths = task.lengths
    row = int((lengths.stop - lengths.first).argmin())
    real = slice(int(lengths.first[row]), int(lengths.stop[row]))
    if not isinstance(task.metric, AtPosition):
        return Check("padding", True, "not checked: the metric does not say where it reads")
    one = task.metric.rows([row])
    alone = {k: v[row : row + 1, real] for k, v in task.clean.items() if k != "attention_mask"}
    with torch.no_grad():
        at = model(alone)[:, int(one.positions[0]) - real.start]
        value = float(one.read(at)[0])
    off = abs(value - float(padded[row]))
    good = off <= 1e-3 * max(1.0, abs(value))
    detail = f"prompt {row} differs by {off:.2g} from itself without padding"
    return Check("padding", good, detail + ("" if good else ": pad on the other side, or use one template"), off)


def measure(task: Task, model: Any, inputs: Inputs) -> tuple[np.ndarray, np.ndarray | None]:
    """The metric and, where the metric knows it, the accuracy of every prompt; [batch] each, without gradients."""
    values, right = [], []
    for chunk in _chunks(len(task)):
        metric = task.rows(chunk).metric
        with torch.no_grad():
            output = model(input_rows(inputs, torch.as_tensor(chunk)))
            value = metric(output)
            if value.shape != (len(chunk),):
                raise BadInput(f"the metric gave shape {list(value.shape)} for {len(chunk)} prompts; one number each")
            values.append(value.double().cpu().numpy())
            if isinstance(metric, PerPrompt):
                right.append(metric.accuracy(output).double().cpu().numpy())
    return np.concatenate(values), np.concatenate(right) if right else None


def _chunks(n: int) -> Iterator[np.ndarray]:
    yield from (np.arange(i, min(i + _CHUNK, n)) for i in range(0, n, _CHUNK))


def _mask(inputs: Inputs) -> Tensor:
    """True at real tokens, [batch, pos]."""
    if isinstance(inputs, Tensor) or "attention_mask" not in inputs:
        return torch.ones_like(ids_of(inputs), dtype=torch.bool)
    return inputs["attention_mask"].bool()


def _is_image(inputs: Inputs) -> bool:
    """Whether the inputs are pixels [batch, channels, height, width] and not tokens."""
    return isinstance(inputs, Tensor) and inputs.is_floating_point()


def _keys(inputs: Inputs) -> list[tuple[float, ...]]:
    """The real tokens of every prompt; of an image, its pixels."""
    if _is_image(inputs):
        return [tuple(pixels.tolist()) for pixels in inputs.flatten(1)]
    return [tuple(ids[real].tolist()) for ids, real in zip(ids_of(inputs), _mask(inputs), strict=True)]
