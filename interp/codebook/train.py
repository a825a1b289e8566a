"""Training with codebooks in: the task's loss plus the distance between what books are given and what they give.

A small plain loop. What a step draws depends on (seed, step) alone, so a training that was killed goes on as if it had
not been.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from interp.codebook.books import Books, Watched, keep
from interp.hooks.baselines import rows as rows_of
from interp.hooks.model import Inputs
from interp.results.errors import BadInput
from interp.results.progress import progress
from interp.results.training_state import STRIDE, resume_state, save_state
from interp.tasks.sequences.dataset import IGNORE

CHECKPOINT_EVERY = 250
Draw = Callable[[int, Generator], tuple[Inputs, Tensor | None]]
Objective = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Training:
    """What happened: the step it went on from, `loss` of the task and `error` of the books at every step since (squared
    distance per token, summed over sites), how many codes were replaced, CPU seconds."""

    start: int
    loss: list[float]
    error: list[float]
    replaced: int
    seconds: float


def next_token(output: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over targets that are not -100: next tokens, or classes. Nats."""
    return cross_entropy(output.flatten(0, -2), targets.flatten(), ignore_index=IGNORE)


def train(
    books: Books, data: Draw | tuple[Inputs, Tensor | None], *, steps: int, batch: int = 32, rate: float = 1e-3,
    model_rate: float | None = None, objective: Objective | None = next_token, weight: float = 1.0,
    replace_every: int = 100, seed: int = 0, folder: str | Path | None = None,
) -> Training:
    """Train with AdamW, without weight decay on codes. Codes alone, unless `model_rate` lets the model adapt.

    `data` is (inputs, targets), of which `batch` rows are drawn each step, or `data(rows, generator)` giving both.
    `objective(output, targets)` is a scalar to minimise, None for the books' error alone. The error, `weight` times the
    squared distance per token, has no gradient into the model. Every `replace_every` steps (0: never) codes that no
    token used since are put at vectors of the batch. With `folder`, checkpoints are kept there and continued.
    Raises BadInput for fewer than one step, a loss that is not finite, and a folder that belongs to another run.
    """
    if steps < 1 or batch < 1:
        raise BadInput(f"{steps} steps of {batch} rows were asked for; at least 1 of each is needed")
    module, table = books.model.module, books.table
    if model_rate is not None and books.weights is None:
        books.weights = keep(module)
    groups = [{"params": list(table.parameters()), "lr": rate, "weight_decay": 0.0}]
    if model_rate is not None:
        groups.append({"params": list(module.parameters()), "lr": model_rate, "weight_decay": 0.01})
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    everything = _Everything(table, module if model_rate is not None else None)
    folder = None if folder is None else Path(folder)
    identity = _identity(books, steps, batch, rate, model_rate, weight, replace_every, seed)
    start = resume_state(folder, everything, optimiser, identity)
    losses, errors, replaced, began = [], [], 0, time.process_time()
    with _training(books, model_rate is not None):
        for step in progress(range(start, steps), f"training codebooks in {books.model.name}"):
            generator = Generator().manual_seed(seed * STRIDE + step)
            x, targets = _draw(data, batch, generator)
            loss, error, seen = _forward(books, x, targets, objective)
            optimiser.zero_grad(set_to_none=True)
            (loss + weight * error).backward()
            if model_rate is not None:  # codes are left out: their error would drown the model's own gradient
                nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            errors.append(float(error.detach()))
            if replace_every and (step + 1) % replace_every == 0:
                replaced += _replace(books, seen, optimiser, generator)
            if folder is not None and ((step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps):
                save_state(folder, everything, optimiser, identity, step + 1)
    return Training(start, losses, errors, replaced, time.process_time() - began)


def _forward(
    books: Books, x: Inputs, targets: Tensor | None, objective: Objective | None
) -> tuple[Tensor, Tensor, dict[str, list[Tensor]]]:
    """(loss, error, {book: the vectors it was given})."""
    errors: list[Tensor] = []
    seen: dict[str, list[Tensor]] = {}

    def watch(site, book, snap, real):
        error = snap.error
        there = None if real is None else real.expand(*error.shape, 1)[..., 0]
        errors.append(error.mean() if there is None else error[there].mean())
        given = snap.target.detach().flatten(0, -3)
        seen.setdefault(books.place(site).book, []).append(
            given if there is None else given[there[..., 0].flatten()]
        )

    with books.model.edit(Watched(books, watch)):
        output = books.model(x)
    error = torch.stack(errors).sum()
    loss = error.new_zeros(()) if objective is None else objective(output, targets)
    if not torch.isfinite(loss + error):
        raise BadInput(f"the loss is {loss.item()} and the books' error {error.item()}: use a lower rate")
    return loss, error, seen


def _replace(books: Books, seen: dict[str, list[Tensor]], optimiser, generator: Generator) -> int:
    """Replace dead codes in every book; the optimiser forgets what it knew of them."""
    count = 0
    for name, given in seen.items():
        book = books.table[name.replace(".", "/")]
        dead = book.replace_dead(torch.cat(given), generator)
        for key in ("exp_avg", "exp_avg_sq"):
            optimiser.state[book.codes][key].view(*dead.shape, -1)[dead] = 0
        count += int(dead.sum())
    return count


def _draw(data: Any, batch: int, generator: Generator) -> tuple[Inputs, Tensor | None]:
    if callable(data):
        return data(batch, generator)
    x, targets = data
    n = len(x) if isinstance(x, Tensor) else len(next(v for v in x.values() if isinstance(v, Tensor)))
    rows = torch.randint(n, (batch,), generator=generator)
    return rows_of(x, rows), None if targets is None else targets[rows]


@contextmanager
def _training(books: Books, with_model: bool) -> Iterator[None]:
    """Books in training mode, the model too where it learns, else frozen; modes and flags are put back."""
    module = books.model.module
    modes = {part: part.training for part in module.modules()}
    flags = {p: p.requires_grad for p in module.parameters()}
    books.table.train()
    if with_model:
        module.train()
    else:
        for parameter in flags:
            parameter.requires_grad_(False)
    try:
        yield
    finally:
        books.table.eval()
        for part, mode in modes.items():
            part.training = mode
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
            if with_model:
                parameter.grad = None


class _Everything:
    """Parameters and buffers of books and model under one `named_parameters`, which is what a checkpoint holds."""

    def __init__(self, table: nn.Module, module: nn.Module | None):
        self.parts = {"books": table} | ({} if module is None else {"model": module})

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        for part, module in self.parts.items():
            for name, value in (*module.named_parameters(), *module.named_buffers()):
                yield f"{part}.{name}", value


def _identity(books: Books, steps, batch, rate, model_rate, weight, replace_every, seed) -> dict[str, str]:
    shapes = {name: [list(book.codes.shape), book.settings] for name, book in books.table.items()}
    return {"model": books.model.name, "books": json.dumps(shapes), "steps": str(steps), "seed": str(seed),
            "settings": json.dumps([batch, rate, model_rate, weight, replace_every])}
