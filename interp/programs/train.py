"""Training a Transformer Program: Adam on Gumbel-relaxed choices whose temperature falls until they are discrete.

Friedman, Wettig & Chen 2023, arXiv 2306.01128, appendix C. Everything drawn in a step depends on (seed, step) alone, so
a training that was killed continues as if it had not been.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from interp.programs.configs import Config, config
from interp.programs.discretise import discretise
from interp.programs.gumbel import Choice
from interp.programs.hooked import build_program_model
from interp.programs.initial import published
from interp.programs.model import TransformerProgramModel
from interp.programs.program import Program
from interp.results.errors import BadInput
from interp.results.estimate import Estimate
from interp.results.progress import progress
from interp.results.training_state import STRIDE, resume_state, save_state
from interp.tasks.sequences import IGNORE, Dataset, Examples, dataset

CHECKPOINT_EVERY = 250
_PROVENANCE = ("task", "sizes", "data_seed", "seed", "config")


@dataclass
class Trained:
    """A trained model, what it was trained on and how, and what it reaches.

    `scores` are those of `Dataset.score` on the test part with every choice at its argmax. `sampled` is the accuracy
    there with choices drawn at the last temperature. `seconds` is CPU time of the steps since the last start.
    """

    model: TransformerProgramModel
    data: Dataset
    config: Config
    seed: int
    scores: dict[str, Estimate] = field(default_factory=dict)
    sampled: float | None = None
    seconds: float = 0.0

    @cached_property
    def program(self) -> Program:
        """The model as a program, with the words and labels of its task."""
        data = self.data
        return discretise(
            self.model, name=data.name, vocab=data.vocab[:-1], labels=data.labels, begin=data.begin, end=data.end,
            unknown=data.unknown, provenance={key: self.record()[key] for key in _PROVENANCE},
        )

    def disagreements(self) -> int:
        """On how many test sequences model and program answer differently: 0 is right."""
        test = self.data.test
        mask = test.mask.numpy()
        same = self.program.predict((test.tokens * test.mask).numpy(), mask) == predict(self.model, test).numpy()
        return int((~same if self.data.pooled else ~same & mask).reshape(len(test), -1).any(1).sum())

    def record(self) -> dict[str, Any]:
        """What `metrics.json` holds: the recipe and its scores."""
        return {
            "task": self.data.name, "sizes": dict(self.data.sizes), "data_seed": self.data.seed, "seed": self.seed,
            "config": asdict(self.config), "scores": {name: score.to_dict() for name, score in self.scores.items()},
            "sampled_accuracy": self.sampled, "cpu_seconds": round(self.seconds, 1),
        }


def train(
    task: str, *, seed: int = 0, out: str | Path | None = None, data: Dataset | None = None, stop: int | None = None,
    **changes: Any,
) -> Trained:
    """Train a program for a sequence task (`interp.tasks.sequences.names()`), in the settings of `configs`, or changed.

    `data` replaces the task's default dataset; `changes` are fields of `Config`, such as steps=500 or n_layers=2. With
    `out`, checkpoints are kept there, and the folder of a run that was killed is continued. `stop` ends the run at a
    step, as if it had been killed there. Global random state is left as it was.
    Raises BadInput for unknown tasks and settings, sizes that do not fit, and a folder that belongs to another run.
    """
    settings = config(task, **changes)
    if settings.steps < 1 or settings.batch < 1:
        raise BadInput(f"{settings.steps} steps of {settings.batch} rows were asked for; at least 1 of each is needed")
    data = data or dataset(task)
    folder = None if out is None else Path(out)
    model = build_program_model(settings.sizes(data), seed)
    model = published(model, seed) if settings.published else model
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.rate)
    identity = _identity(data, settings, seed)
    start = resume_state(folder, model, optimiser, identity)
    model.train()
    began = time.process_time()
    end = settings.steps if stop is None else min(stop, settings.steps)
    for step in progress(range(start, end), f"training {task}"):
        step_once(model, optimiser, data.train, settings, seed, step)
        done = step + 1
        if folder is not None and (done % CHECKPOINT_EVERY == 0 or done == end):
            save_state(folder, model, optimiser, identity, done)
    trained = Trained(model.eval(), data, settings, seed, seconds=time.process_time() - began)
    trained.scores = data.score(predict(model, data.test))
    trained.sampled = sampled_accuracy(trained)
    return trained


def temperature(step: int, settings: Config) -> float:
    """From `hot` at the first step to `cold` at the last, geometrically."""
    return settings.hot * (settings.cold / settings.hot) ** (step / max(settings.steps - 1, 1))


def step_once(
    model: TransformerProgramModel, optimiser: torch.optim.Optimizer, examples: Examples, settings: Config, seed: int,
    step: int,
) -> None:
    """One step of Adam; what it draws depends on (seed, step)."""
    generator = Generator().manual_seed(seed * STRIDE + step)
    rows = batch_rows(len(examples), settings.batch, seed, step)
    mode = "straight" if settings.straight else "soft"
    model.choice = Choice(mode, temperature(step, settings), generator)
    loss = sequence_loss(model(examples.tokens[rows]), examples.labels[rows])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def batch_rows(n: int, batch: int, seed: int, step: int) -> Int[Tensor, " batch"]:
    """Rows of a step: epochs are permutations, cut into batches, without what is left over at the end."""
    batch = min(batch, n)
    epoch, place = divmod(step, n // batch)
    order = torch.randperm(n, generator=Generator().manual_seed(seed * STRIDE - 1 - epoch))
    return order[place * batch : (place + 1) * batch]


def sequence_loss(scores: Float[Tensor, "row *pos label"], labels: Int[Tensor, "row *pos"]) -> Tensor:
    """Cross-entropy, averaged over the labels of a sequence, then over sequences."""
    each = cross_entropy(scores.flatten(0, -2), labels.flatten(), ignore_index=IGNORE, reduction="none")
    asked = (labels != IGNORE).view(len(labels), -1).to(each.dtype)
    means = each.view(len(labels), -1).sum(1) / asked.sum(1).clamp(min=1)
    return means.sum() / (asked.sum(1) > 0).sum().clamp(min=1)


@torch.no_grad()
def predict(model: TransformerProgramModel, examples: Examples, batch: int = 512) -> Int[Tensor, "row *pos"]:
    """Label ids of every row, in the model's own mode; behind the sequence they mean nothing."""
    return torch.cat([model(tokens).argmax(-1) for tokens in examples.tokens.split(batch)])


def sampled_accuracy(trained: Trained) -> float:
    """Accuracy on the test part with choices drawn at the last temperature, as in the last step of training."""
    model, examples = trained.model, trained.data.test
    model.choice = Choice("soft", trained.config.cold, Generator().manual_seed(trained.seed * STRIDE + 1))
    model.train()
    try:
        predicted = predict(model, examples)
    finally:
        model.eval()
    asked = examples.labels != IGNORE
    return float((predicted == examples.labels)[asked].double().mean())


def _identity(data: Dataset, settings: Config, seed: int) -> dict[str, str]:
    return {"task": data.name, "sizes": json.dumps(dict(data.sizes)), "data_seed": str(data.seed), "seed": str(seed),
            "config": json.dumps(asdict(settings))}
