"""The token tasks that architectures are compared on: what is drawn, what is learned of it, how it is scored.

    recall    associative recall, 2 to 8 pairs; every next token is predicted
    repeats   a block of 4 to 12 different tokens repeats behind a lead of 0 to 12; every next token is predicted
    dyck      balanced brackets, every next one predicted (garden/dyck-2l's data)
    text      windows of garden/text-small's corpus in its tokenizer
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from interp.garden import recipes
from interp.garden.recipe import IGNORE, Batch, Recipe
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput, nearest
from interp.tasks import recall as recall_task
from interp.tasks import repeats

SELECT_SEED, TEST_SEED = 10_000, 20_000  # held-out rows: to choose a rate by, and to report; no training seed
SELECT_ROWS, TEST_ROWS = 256, 560

N_TOKENS, N_CTX, PERIODS, LEAD = 32, 40, (4, 12), 12


@dataclass(frozen=True, kw_only=True)
class TokenTask:
    """Sequences of tokens on which any sequence architecture is trained in the same way.

    `data(rows, generator)` draws a batch, `metrics(model)` measures on rows that no training sees, `score` names the
    metric to compare by (a share of right answers, or bits a byte where `lower` is better), `chance` is what knowing
    only which tokens can be right gives. `circuit` names the task of `interp.tasks` with which circuits are found;
    `repeats` says whether tokens come again and have to be looked up, `bos` whether a row's first one means nothing.
    """

    name: str
    line: str
    d_vocab: int
    n_ctx: int
    steps: int
    batch: int
    data: Callable[[int, Generator], Batch]
    metrics: Callable[[HookedModel], dict[str, Any]]
    score: str = "accuracy"
    lower: bool = False
    chance: float | None = None
    circuit: str | None = None
    repeats: bool = False
    bos: bool = False
    weight_decay: float = 0.01
    tokenizer: Callable[[], Any] | None = None

    def recipe(self, architecture: str, sizes: dict[str, int | None], rate: float, name: str,
               steps: int | None = None) -> Recipe:
        """How a model of an architecture is trained on this task at one learning rate."""
        return Recipe(
            name=name, about=self.line, architecture=architecture, sizes=sizes, steps=steps or self.steps,
            batch=self.batch, rate=rate, data=self.data, metrics=self.metrics, weight_decay=self.weight_decay,
            tokenizer=self.tokenizer, warmup=min(100, (steps or self.steps) // 5),
        )

    def select_loss(self, model: HookedModel) -> float:
        """Mean loss in nats a target, on the rows by which learning rates are chosen."""
        batch = self.data(SELECT_ROWS, torch.Generator().manual_seed(SELECT_SEED))
        total = count = 0.0
        with torch.no_grad():
            for tokens, targets in zip(batch.tokens.split(64), batch.targets.split(64)):
                logits = model(tokens)
                total += cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORE,
                                       reduction="sum").item()
                count += int((targets != IGNORE).sum())
        return total / count


def token_task(name: str) -> TokenTask:
    """The task called `name`. Raises BadInput, naming the nearest."""
    if name not in _MAKERS:
        raise BadInput(f"architectures are not compared on {name!r}.{nearest(name, _MAKERS)} "
                       f"There are: {', '.join(_MAKERS)}")
    return _MAKERS[name]()


def names() -> tuple[str, ...]:
    """What `token_task` knows."""
    return tuple(_MAKERS)


def recall_data(rows: int, generator: Generator) -> Batch:
    """Every next token is predicted, keys and new values too, as in a language model."""
    return _next(recall_task.episodes(rows, generator)[0])


def recall_metrics(model: HookedModel) -> dict[str, Any]:
    """Share of right answers and loss (nats) at keys that have been there, two pairs or more in the row; `by_pairs` for
    each number of pairs."""
    tokens, known = recall_task.episodes(TEST_ROWS, torch.Generator().manual_seed(TEST_SEED))
    batch = _next(tokens)
    right, loss = _scores(model, Batch(tokens, batch.targets.masked_fill(known < 2, IGNORE)))
    pairs = known[known >= 2]
    return {"accuracy": right.mean().item(), "loss": loss.mean().item(),
            "by_pairs": {str(n): right[pairs == n].mean().item() for n in pairs.unique().tolist()}}


def _recall_chance() -> float:
    """One of the values in the row: 1 / pairs, mean over the answers that are measured."""
    _, known = recall_task.episodes(TEST_ROWS, torch.Generator().manual_seed(TEST_SEED))
    return (1 / known[known >= 2]).mean().item()


def repeats_data(rows: int, generator: Generator) -> Batch:
    """Every next token is predicted, the unpredictable lead and first block too, as in a language model."""
    tokens, _, _ = repeats.sequences(rows, generator, n_tokens=N_TOKENS, n_ctx=N_CTX, periods=PERIODS,
                                     longest_lead=LEAD)
    return _next(tokens)


def _next(tokens: Tensor) -> Batch:
    targets = torch.full_like(tokens, IGNORE)
    targets[:, :-1] = tokens[:, 1:]
    return Batch(tokens, targets)


def repeats_metrics(model: HookedModel) -> dict[str, Any]:
    """Share of right answers and loss (nats) where the next token has been seen behind the same one, and the loss
    elsewhere (`first_loss`)."""
    batch = repeats_data(TEST_ROWS, torch.Generator().manual_seed(TEST_SEED))
    there = repeats.predictable(batch.tokens)
    known, rest = (Batch(batch.tokens, batch.targets.masked_fill(hidden, IGNORE)) for hidden in (~there, there))
    right, loss = _scores(model, known)
    return {"accuracy": right.mean().item(), "loss": loss.mean().item(),
            "first_loss": _scores(model, rest)[1].mean().item()}


def _scores(model: HookedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """(1 where the most likely token is the target, loss in nats) of every target, [n]."""
    with torch.no_grad():
        logits = torch.cat([model(rows) for rows in batch.tokens.split(64)])
    where = batch.targets != IGNORE
    logits, targets = logits[where], batch.targets[where]
    return (logits.argmax(-1) == targets).double(), cross_entropy(logits, targets, reduction="none")


def _of_garden(name: str, shipped: str, **changed: Any) -> TokenTask:
    """The data and metrics of a shipped model's recipe."""
    made = recipes.recipe(shipped)
    task = TokenTask(
        name=name, line=made.about, d_vocab=made.sizes["d_vocab"], n_ctx=made.sizes["n_ctx"], steps=made.steps,
        batch=made.batch, data=made.data, metrics=made.metrics, weight_decay=made.weight_decay,
        tokenizer=made.tokenizer,
    )
    return replace(task, **changed)


_MAKERS: dict[str, Callable[[], TokenTask]] = {
    "recall": lambda: TokenTask(
        name="recall", line="Associative recall: tokens 0 to 15 are keys, 16 to 31 values; at a key that has been "
        "there its value is said.", d_vocab=2 * recall_task.N_KEYS, n_ctx=recall_task.N_CTX, steps=600,
        batch=32, data=recall_data, metrics=recall_metrics, chance=_recall_chance(), circuit="recall", repeats=True),
    "repeats": lambda: TokenTask(
        name="repeats", line="Predicts the next token of a repeated random block: tokens 0 to 31, and 32 in front.",
        d_vocab=N_TOKENS + 1, n_ctx=N_CTX, steps=600, batch=32, data=repeats_data, metrics=repeats_metrics,
        circuit="induction", repeats=True, bos=True),
    "dyck": partial(_of_garden, "dyck", "dyck-2l", steps=600, batch=32, circuit="dyck"),
    "text": partial(_of_garden, "text", "text-small", steps=1500, batch=8, score="bits_per_byte", lower=True),
}
