"""A learning rate for each architecture: a grid on one seed, the whole curve kept, the best rate for all seeds.

One rate for all would rank architectures by how well it happens to suit them. Every rate of the grid is trained for
the full number of steps; the rate with the lowest loss on rows of their own (`TokenTask.select_loss`) is taken, and
where it is the first or the last of the grid, the grid is extended by one rate on that side, once. What is reported is
measured on other rows.

A folder holds the models as TASK/ARCHITECTURE-LAYERSl-SEED and what every rate gave in TASK/rates.jsonl, one line a
run: work that is done is never done again.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.architectures.catalog import entry
from interp.garden.comparison.tasks import TokenTask
from interp.garden.loading import load
from interp.garden.recipe import Recipe
from interp.garden.train import finish, fit
from interp.hooks.files import FACTS
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput

RATES = (1e-3, 4e-3, 1.6e-2)
GRID_SEED = 0


@dataclass(frozen=True)
class Contender:
    """An architecture with its sizes on a task: what is trained, for several rates and seeds."""

    task: TokenTask
    architecture: str
    sizes: dict[str, int | None]
    steps: int

    @property
    def layers(self) -> int:
        """Depths, also where the size is called otherwise (three looped visits and two others are five)."""
        return int(self.sizes.get("n_layers") or entry(self.architecture).sizes.get("n_layers") or
                   self.sizes.get("n_loops", 0) + 2)

    @property
    def label(self) -> str:
        """ARCHITECTURE-LAYERSl."""
        return f"{self.architecture}-{self.layers}l"

    def place(self, folder: Path, seed: int) -> Path:
        """Where its model of a seed is kept."""
        return folder / self.task.name / f"{self.label}-{seed}"

    def recipe(self, rate: float) -> Recipe:
        """How it is trained at a rate."""
        name = f"{self.task.name}-{self.architecture}"
        return self.task.recipe(self.architecture, self.sizes, rate, name, self.steps)

    def has_sizes(self, stored: dict[str, int | None]) -> bool:
        """Whether a model stored with these sizes is of this contender's; a size that the entry got later was at its
        default."""
        full = entry(self.architecture).sizes | stored
        return full | self.sizes == full

    @property
    def identity(self) -> dict[str, Any]:
        """What a line of rates.jsonl must agree in to be this contender's."""
        sizes = {size: value for size, value in self.sizes.items() if value is not None}
        return {"architecture": self.architecture, "sizes": sizes, "steps": self.steps}


@dataclass(frozen=True)
class Tuned:
    """`curve`: {rate: select loss in nats, inf where it diverged} in rising order; `rate` the best of them."""

    curve: dict[float, float]

    @property
    def rate(self) -> float:
        """The rate with the lowest loss, the smaller one of equals."""
        return best_rate(self.curve)

    def records(self) -> list[dict[str, float | None]]:
        """One {rate, select_loss} a rate; None where it diverged."""
        return [{"rate": rate, "select_loss": loss if math.isfinite(loss) else None}
                for rate, loss in self.curve.items()]


def best_rate(curve: dict[float, float]) -> float:
    """The rate of the lowest finite loss, the smaller one of equals. Raises BadInput where all diverged, or none is."""
    finite = {rate: loss for rate, loss in curve.items() if math.isfinite(loss)}
    if not finite:
        raise BadInput(f"no learning rate is left to choose from: {len(curve)} were tried and all diverged"
                       if curve else "no learning rates were given")
    return min(sorted(finite), key=finite.__getitem__)


def beyond(curve: dict[float, float], grid: tuple[float, ...]) -> float | None:
    """The rate by which a grid is extended: one step past the end at which its best rate lies; None where the best is
    inside, the grid has one rate, or was extended."""
    ordered = sorted(grid)
    if len(ordered) < 2 or set(curve) - set(grid):
        return None
    for end, next_to_it in (ordered[:2], ordered[:-3:-1]):
        if best_rate(curve) == end:
            return float(f"{end * end / next_to_it:.1g}")
    return None


def tune(contender: Contender, folder: Path, rates: tuple[float, ...] = RATES, extend: bool = True) -> Tuned:
    """Train the grid on seed 0 and keep the best model; runs that are recorded in the folder are not repeated. With
    `extend`, one rate more where the best of the grid is its first or last.

    Raises BadInput for rates that are not positive, and where all diverge.
    """
    grid = tuple(sorted(set(rates)))
    if not grid or grid[0] <= 0:
        raise BadInput(f"learning rates are positive numbers, at least one of them, not {list(rates)}")
    known, curve = recorded(contender, folder), {}
    for rate in _order(grid, curve, extend):
        curve[rate] = known[rate] if rate in known else _try(contender, rate, curve, folder)
    best_rate(curve)  # refuses one where all diverged
    return Tuned(dict(sorted(curve.items())))


def _order(grid: tuple[float, ...], curve: dict[float, float], extend: bool) -> Iterator[float]:
    """The rates to train: the grid, then the one beyond it, if any, by what the grid gave."""
    yield from grid
    more = beyond(curve, grid) if extend else None
    if more is not None:
        yield more


def _try(contender: Contender, rate: float, curve: dict[float, float], folder: Path) -> float:
    """Train at one rate, keep the model if it is the best yet, write down what it gave."""
    recipe = contender.recipe(rate)
    model = fit(recipe, seed=GRID_SEED)
    loss = contender.task.select_loss(model)
    loss = loss if math.isfinite(loss) else math.inf
    if math.isfinite(loss) and all(loss < other for other in curve.values()):
        finish(model, recipe, GRID_SEED, contender.place(folder, GRID_SEED), rate=rate)
    line = contender.identity | {"rate": rate, "select_loss": loss if math.isfinite(loss) else None}
    path = folder / contender.task.name / "rates.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    return loss


def recorded(contender: Contender, folder: Path) -> dict[float, float]:
    """{rate: select loss} of the runs of this contender that the folder has; a line that a kill cut short is passed
    over."""
    path = folder / contender.task.name / "rates.jsonl"
    found = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if {key: line.get(key) for key in contender.identity} == contender.identity:
            found[line["rate"]] = math.inf if line["select_loss"] is None else line["select_loss"]
    return found


def trained(contender: Contender, rate: float, seed: int, folder: Path) -> HookedModel:
    """Its model of a seed at a rate, from the folder or trained now."""
    place = contender.place(folder, seed)
    if not _is(place, contender, rate):
        recipe = contender.recipe(rate)
        finish(fit(recipe, seed=seed), recipe, seed, place, rate=rate)
    return load(str(place))


def _is(place: Path, contender: Contender, rate: float) -> bool:
    """Whether the model that lies there is of this rate and these sizes."""
    if not (place / FACTS).exists() or not (place / "metrics.json").exists():
        return False
    record, facts = (json.loads((place / name).read_text()) for name in ("metrics.json", FACTS))
    same = contender.has_sizes(facts["recipe"]["sizes"])
    return same and record.get("rate") == rate and record["steps"] == contender.steps
