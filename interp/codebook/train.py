"""Training with codebooks in: the task's loss plus the distance between what books are given and what they give.

A small plain loop. What a step draws, dropout included, depends on (seed, step) alone, so a training that was killed
goes on as if it had not been.
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
from interp.codebook.files import digest, weights_of
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
    distance per vector, a head's being a vector of its own, summed over sites), how many codes were replaced, CPU
    seconds."""

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
    mean squared distance of the vectors of every site, has no gradient into the model. Every `replace_every` steps (0:
    never) codes that no token used since are put at vectors of the batch. With `folder`, checkpoints are kept there and
    continued.
    Raises BadInput for fewer than one step, data without rows or with another number of targets, a loss that is not
    finite, gradients that are off, and a folder that belongs to another run: other settings, codes or weights to start
    from, data (what a function draws is not compared) or objective.
    """
    if steps < 1 or batch < 1 or replace_every < 0:
        raise BadInput(f"{steps} steps of {batch} rows, codes replaced every {replace_every}, were asked for; at least "
                       "1, 1 and 0 (never) are needed")
    if not torch.is_grad_enabled():
        raise BadInput("gradients are off here: train outside of torch.no_grad()")
    if not callable(data):
        _check_rows(books.model.batch_of(data[0])[0], data[1])
    module, table = books.model.module, books.table
    if model_rate is not None and books.weights is None:
        books.model.weights_before = keep(module)
    groups = [{"params": list(table.parameters()), "lr": rate, "weight_decay": 0.0}]
    if model_rate is not None:
        groups.append({"params": list(module.parameters()), "lr": model_rate, "weight_decay": 0.01})
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98))
    everything = _Everything(table, module if model_rate is not None else None)
    folder = None if folder is None else Path(folder)
    settings = [batch, rate, model_rate, weight, replace_every]
    identity = {} if folder is None else _identity(books, data, objective, steps, seed, settings)
    start = resume_state(folder, everything, optimiser, identity)
    losses, errors, replaced, began = [], [], 0, time.process_time()
    with _training(books, model_rate is not None), torch.random.fork_rng():
        for step in progress(range(start, steps), f"training codebooks in {books.model.name}"):
            generator = Generator().manual_seed(seed * STRIDE + step)
            torch.manual_seed(seed * STRIDE + step)  # of dropout
            x, targets = _draw(books, data, batch, generator)
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
        if objective is not None and targets is not None and not (targets != IGNORE).any():
            raise BadInput(f"all targets of a batch are {IGNORE}, which stands for none: there is nothing to learn "
                           "from")
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


def _check_rows(n: int, targets: Tensor | None) -> None:
    if n == 0 or targets is not None and len(targets) != n:
        raise BadInput(f"{n} inputs with {'no' if targets is None else len(targets)} targets were given; at least one, "
                       "and one row of targets per input, are needed")


def _draw(books: Books, data: Any, batch: int, generator: Generator) -> tuple[Inputs, Tensor | None]:
    if callable(data):
        return data(batch, generator)
    x, targets = data
    rows = torch.randint(books.model.batch_of(x)[0], (batch,), generator=generator)
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


def _identity(
    books: Books, data: Any, objective: Objective | None, steps: int, seed: int, settings: list
) -> dict[str, str]:
    """What a checkpoint must agree in."""
    shapes = {name: [list(book.codes.shape), book.settings] for name, book in books.table.items()}
    weights = weights_of(books.model.module) if books.weights is None else books.weights
    return {
        "model": books.model.name, "weights": digest(weights), "books": json.dumps(shapes),
        "codes": digest(dict(books.table.named_parameters())), "data": _of(data),
        "objective": getattr(objective, "__qualname__", type(objective).__name__), "steps": str(steps),
        "seed": str(seed), "settings": json.dumps(settings),
    }


def _of(data: Any) -> str:
    if callable(data):
        return "drawn"
    x, targets = data
    tensors = {"x": x} if isinstance(x, Tensor) else {f"x {key}": v for key, v in x.items() if isinstance(v, Tensor)}
    return digest(tensors | ({} if targets is None else {"targets": targets}))
