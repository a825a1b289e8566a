"""Architectures side by side on one task: trained alike or loaded, measured alike."""

import json
from collections.abc import Sequence
from pathlib import Path

from interp.garden.comparison.match import PARAMETERS, check_architecture, count, matched
from interp.garden.comparison.measure import measure
from interp.garden.comparison.result import Comparison, Row
from interp.garden.comparison.tasks import TokenTask, token_task
from interp.garden.comparison.tune import GRID_SEED, RATES, Contender, Tuned, trained, tune
from interp.garden.loading import GARDEN, garden_names, load
from interp.hooks.files import FACTS
from interp.hooks.model import HookedModel
from interp.results.errors import BadInput
from interp.results.progress import progress

DEFAULT = ("gpt", "sigmoid-attention", "momentum", "mamba", "gla", "looped")


def compare_architectures(
    task: str, names: Sequence[str] = DEFAULT, *, seeds: int = 1, folder: Path, parameters: int = PARAMETERS,
    rates: Sequence[float] = RATES, steps: int | None = None, layers: int | None = None, shipped: bool = True,
) -> Comparison:
    """Every architecture of `names` on a task at matched parameters, its learning rate tuned on seed 0, `seeds` seeds.

    Models are loaded from the garden where one of these settings ships (unless `shipped` is False), else from `folder`,
    else trained and kept there; a call that was killed goes on where it ended.
    Raises BadInput for a task or an architecture that there is not, naming the nearest, one that cannot be trained on
    tokens, a name given twice, no seeds, and as `tune` and `matched`; all of it before any training.
    """
    chosen = token_task(task)
    if seeds < 1 or not names:
        raise BadInput(f"{seeds} seeds of {len(names)} architectures were asked for; 1 of each is the least")
    if len(set(names)) != len(names):
        raise BadInput(f"{next(n for n in names if list(names).count(n) > 1)} is named twice")
    for name in names:
        check_architecture(name)
    contenders = [contender(chosen, name, parameters, layers, steps) for name in names]
    rows = [row for one in progress(contenders, "architectures")
            for row in _rows(one, seeds, folder, tuple(rates), shipped)]
    return Comparison(chosen.name, chosen.score, chosen.lower, chosen.chance, tuple(rows))


def contender(task: TokenTask, name: str, parameters: int = PARAMETERS, layers: int | None = None,
              steps: int | None = None) -> Contender:
    """The architecture at its matched sizes. Raises as `matched`."""
    sizes = matched(name, task.d_vocab, task.n_ctx, parameters, layers)
    return Contender(task, name, sizes, steps or task.steps)


def _rows(one: Contender, seeds: int, folder: Path, rates: tuple[float, ...], shipped: bool) -> list[Row]:
    place = shipped_as(one, rates) if shipped else None
    if place is None:
        tuned = tune(one, folder, rates)
    else:
        record = json.loads((place / "metrics.json").read_text())
        tuned = Tuned({line["rate"]: float("inf") if line["select_loss"] is None else line["select_loss"]
                       for line in record["rates"]})
    found = []
    for seed in range(seeds):
        here = place if place is not None and seed == GRID_SEED else one.place(folder, seed)
        model: HookedModel = load(f"garden/{place.name}") if here is place else trained(one, tuned.rate, seed, folder)
        record = json.loads((here / "metrics.json").read_text())
        found.append(Row(
            architecture=one.architecture, layers=one.layers, seed=seed, rate=tuned.rate, curve=tuned.curve,
            parameters=count(one.architecture, one.sizes), sizes=one.sizes, metrics=record["metrics"],
            measured=measure(model, one.task, seed), source="garden" if here is place else "trained",
        ))
    return found


def shipped_as(one: Contender, rates: tuple[float, ...]) -> Path | None:
    """The folder of the garden's model of these sizes, steps and grid of rates, where one ships."""
    name = f"{one.task.name}-{one.architecture}"
    if f"garden/{name}" not in garden_names():
        return None
    place = GARDEN / name
    record, facts = (json.loads((place / file).read_text()) for file in ("metrics.json", FACTS))
    same = one.has_sizes(facts["recipe"]["sizes"])
    grid = {line["rate"] for line in record["rates"]} >= set(rates)
    return place if same and grid and record["steps"] == one.steps else None
