"""What every depth says at every position of one prompt, and how some tokens fare on the way there.

    p_l(t) = softmax(head(stream_l(t)))      entropy = - sum p log p      rank = 1 + how many tokens are likelier

`logit_lens` averages distances over prompts; this shows one prompt, token by token. Surprise: of a model that answers
once (a classifier), there is one position, whatever it has read.

Paper: nostalgebraist 2020, "interpreting GPT: the logit lens".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.hooks import HookedModel
from interp.lens.head import Head
from interp.lens.stream import chosen, points, real_tokens
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from interp.lens.tuned import TunedLens

MEASURES = {"rank": "place among all tokens", "probability": "probability", "entropy": "nats", "kl": "nats"}
Targets = Literal["answer", "next"] | int


@dataclass(frozen=True, eq=False)
class Readings:
    """What every site says at every position of one prompt.

    `values[measure]` [site, position] in `MEASURES[measure]`: rank and probability are of the token `targets`
    [position], kl against what the last depth says. `top` and `top_probability` [site, position, k] are the first
    choices. `positions` counts from the prompt's first token; `kind` is "logit lens" or "tuned lens".
    """

    model: str
    sites: list[str]
    positions: Int[np.ndarray, " position"]
    targets: Int[np.ndarray, " position"]
    values: dict[str, Float[np.ndarray, "site position"]]
    top: Int[np.ndarray, "site position k"]
    top_probability: Float[np.ndarray, "site position k"]
    kind: str

    def frame(self) -> pd.DataFrame:
        """One row a site and position: depth, every measure, the target and the first choice (ids)."""
        rows, columns = self.values["kl"].shape
        frame = pd.DataFrame({
            "site": np.repeat(self.sites, columns), "depth": np.repeat(np.arange(rows), columns),
            "position": np.tile(self.positions, rows), "target": np.tile(self.targets, rows),
            **{measure: values.ravel() for measure, values in self.values.items()},
            "first": self.top[..., 0].ravel(), "first_probability": self.top_probability[..., 0].ravel(),
        })
        frame.attrs |= {"model": self.model, "kind": self.kind}
        return frame

    def figure(self, measure: str = "rank") -> "go.Figure":
        """One measure, depth up and position across; ranks as their decimal logarithm. Raises BadInput for another."""
        if measure not in self.values:
            raise BadInput(f"there is no measure {measure!r}; there are {', '.join(self.values)}")
        table, unit = self.values[measure], MEASURES[measure]
        if measure == "rank":
            table, unit = np.log10(table), "log10 of the rank"
        return plots.heatmap(table, [str(p) for p in self.positions], range(len(self.sites)), diverging=False,
                             unit=unit, title=f"{self.model}: {self.kind}, {measure}", x_title="position",
                             y_title="blocks passed")

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("readings", self)


def readings(
    model: HookedModel, x, of: Targets = "answer", *, k: int = 5, through: "TunedLens | None" = None
) -> Readings:
    """What every depth of `model` says at every position of one prompt `x` (a batch of one).

    `of` is whose rank and probability is given: "answer", what the model says at the end at that position; "next", the
    token that stands behind it (at the last position the answer); or a token's id. `through` is a tuned lens.
    Raises BadInput for a model of features, more than one prompt, an id that is not there, and for "next" where inputs
    are no tokens; RequiresResidualStream for a model without a stream.
    """
    head, real = _head(model, x)
    with torch.no_grad():
        final = head(head.stream)[0].float()
        targets = _targets(model, x, of, final, real)
        last, k = final.log_softmax(-1).clamp(min=-1e30), min(k, final.shape[-1])
        found = [_read(row[0], last, targets[:, None], k) for row in _depths(head, points(model), through)]
    values = {name: torch.stack([row[name] for row in found]).numpy() for name in MEASURES}
    values |= {name: values[name][..., 0] for name in ("rank", "probability")}
    top, likely = (torch.stack([row[name] for row in found]).numpy() for name in ("top", "top_probability"))
    return Readings(model.name, points(model), np.arange(len(final)), targets.numpy(), values, top, likely,
                    _kind(through))


def trajectory(
    model: HookedModel, x, ids: Sequence[int], position: int = -1, *, through: "TunedLens | None" = None
) -> pd.DataFrame:
    """How some tokens fare over depth at one position of one prompt: one row a token and depth.

    Columns: id, depth, site, probability, rank, logit (before the softmax, where a head adds no constant they can be
    compared over depth). Raises as `readings`, and BadInput for no ids or a position that is not there.
    """
    head, real = _head(model, x, position)
    with torch.no_grad():
        final = head(head.stream)[0].float()
        wanted = _checked(ids, final.shape[-1])
        last = final.log_softmax(-1).clamp(min=-1e30)
        rows = []
        for depth, (site, logits) in enumerate(zip(points(model), _depths(head, points(model), through))):
            read = _read(logits[0], last, wanted[None], 1)
            rows += [{"id": int(i), "depth": depth, "site": site, "probability": float(read["probability"][0, j]),
                      "rank": int(read["rank"][0, j]), "logit": float(logits[0, 0, i])} for j, i in enumerate(wanted)]
    frame = pd.DataFrame(rows)
    frame.attrs |= {"model": model.name, "kind": _kind(through), "position": position}
    return frame


def spoken(
    model: HookedModel, x, *, through: "TunedLens | None" = None
) -> Float[np.ndarray, "site position output"]:
    """The output itself that every depth of `model` would give on one prompt `x`: for models that say numbers.

    The rows are `interp.lens.stream.points(model)`. Raises as `readings`, but for features, which are given.
    """
    head, _ = _head(model, x, features=True)
    with torch.no_grad():
        return torch.stack([row[0] for row in _depths(head, points(model), through)]).cpu().numpy()


def _head(
    model: HookedModel, x, position: int | None = None, features: bool = False
) -> tuple[Head, Tensor]:
    """(the head, which positions are real [1, pos]) of one prompt of a model that says a distribution."""
    if model.map.unembed is None and not features:
        raise BadInput(f"{model.name} says features, not logits: there are no tokens to rank. interp.lens.logit_lens "
                       "says how far each depth is from its output")
    if (batch := model.batch_of(x)[0]) != 1:
        raise BadInput(f"{batch} prompts were given; this shows one (interp.lens.logit_lens averages over many)")
    names = points(model)
    real = real_tokens(model, x, model.read(x, names[0])[names[0]])
    answers_once = model.read(x, "output")["output"].dim() == 2
    wanted = None if position is None or answers_once else [position]
    head = Head(model, x, chosen(real, wanted), names)
    for name in names:
        head.require_fit(name, head.kept[name])
    return head, real


def _depths(head: Head, names: list[str], through: "TunedLens | None"):
    for name in progress(names, "reading depths"):
        value = head.kept[name]
        yield head(value if through is None else through(name, value)).float()


def _read(logits: Tensor, last: Tensor, ids: Tensor, k: int) -> dict[str, Tensor]:
    """Every measure of logits [pos, token]; `ids` [pos or 1, n] are followed, `last` is the end's, in logs."""
    logs = logits.log_softmax(-1).clamp(min=-1e30)
    ids = ids.expand(len(logits), -1)
    own = logits.gather(1, ids)
    top = logs.topk(k, -1)
    return {
        "probability": logs.gather(1, ids).exp(), "top": top.indices, "top_probability": top.values.exp(),
        "rank": torch.stack([(logits > own[:, j: j + 1]).sum(-1) + 1 for j in range(own.shape[1])], 1),
        "entropy": -(logs.exp() * logs).sum(-1), "kl": (logs.exp() * (logs - last)).sum(-1),
    }


def _targets(model: HookedModel, x, of: Targets, final: Tensor, real: Tensor) -> Tensor:
    """[position] the token whose rank is asked at each position."""
    answer = final.argmax(-1)
    if of == "answer":
        return answer
    if of != "next":
        return _checked([of], final.shape[-1]).expand(len(final))
    ids = x.get("input_ids") if not isinstance(x, Tensor) else x
    if ids is None or ids.is_floating_point() or len(final) != int(real.sum()):
        raise BadInput(f'{model.name} does not read tokens one by one: there is no next token. Ask for of="answer"')
    return torch.cat([ids[real][1:].cpu(), answer[-1:]])


def _checked(ids: Sequence[int], count: int) -> Tensor:
    wrong = [i for i in ids if not isinstance(i, int | np.integer) or not 0 <= i < count]
    if wrong or not len(ids):
        raise BadInput(f"token ids run from 0 to {count - 1}; {wrong[0]!r} was asked for" if wrong else
                       "no token ids were given")
    return torch.tensor([int(i) for i in ids])


def _kind(through: "TunedLens | None") -> str:
    return "logit lens" if through is None else "tuned lens"
