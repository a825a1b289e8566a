"""The models of the comparison of architectures that ship, made again: garden/recall-NAME and garden/repeats-NAME.

Every architecture is tuned on seed 0 (`interp.garden.comparison.tune`, resumable below --models); the best model goes
to interp/garden with its metrics, the whole learning-rate curve and a README, its rate into
interp/garden/recipes/compared.py. Architectures that are not asked for stay as they are.

Run: python -m benchmarks.compared_garden [--models DIR] [--no-extend] [NAME ...]
"""

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from interp.architectures.catalog import entry
from interp.garden.comparison.compare import contender
from interp.garden.comparison.match import count
from interp.garden.comparison.tasks import token_task
from interp.garden.comparison.tune import Contender, Tuned, trained, tune
from interp.garden.loading import GARDEN
from interp.garden.recipes import compared
from interp.garden.train import finish

TASKS = ("recall", "repeats")
NAMES = ("attn-only-rotary", "llama", "gpt", "rotary", "sigmoid-attention", "urpe", "momentum", "smeared-keys",
         "short-conv-keys", "token-shift", "gla", "dual-stream", "mamba2-hybrid", "looped")
WIDTH = 118


def ship(one: Contender, tuned: Tuned, models: Path) -> dict:
    """Write one model's folder in the garden; returns its metrics."""
    name = f"{one.task.name}-{one.architecture}"
    model, recipe = trained(one, tuned.rate, 0, models), replace(one.recipe(tuned.rate), name=name)
    model.name, place = name, GARDEN / name
    shutil.rmtree(place, ignore_errors=True)
    record = finish(model, recipe, 0, place, rate=tuned.rate, rates=tuned.records())
    (place / "README.md").write_text(readme(one, tuned, record))
    return record["metrics"]


def readme(one: Contender, tuned: Tuned, record: dict) -> str:
    """What the model is, how it was made and what it reaches."""
    name, metrics = record["recipe"], record["metrics"]
    curve = ", ".join(f"{line['rate']:g}: " + ("diverged" if line["select_loss"] is None else
                                               f"{line['select_loss']:.3f}") for line in tuned.records())
    sizes = ", ".join(f"{size} {value}" for size, value in one.sizes.items() if value is not None)
    return f"""# {name}

{entry(one.architecture).title}: `{one.architecture}` of the catalog, trained on {one.task.name} for the comparison
of architectures (`interp train {name}`, seed 0, {record['steps']} steps of {one.task.batch} rows).

{one.task.line}

| | |
|---|---|
| accuracy on held-out rows | {metrics['accuracy']:.3f} |
| loss there, nats | {metrics['loss']:.3f} |
| parameters | {count(one.architecture, one.sizes):,} |

Sizes: {sizes}.
Learning rate: {tuned.rate:g}, the best of a grid by the loss in nats on rows of their own
({curve}).

Data are random numbers; licence of the weights: MIT, as the project.
"""


def write_rates(rates: dict[str, dict[str, float]]) -> None:
    """Put the table of rates into the recipe file."""
    lines = ["RATES: dict[str, dict[str, float]] = {"]
    for task, of in rates.items():
        row = "       "
        lines.append(f'    "{task}": {{')
        for name, rate in of.items():
            item = f' "{name}": {rate:g},'
            if len(row + item) > WIDTH:
                lines.append(row)
                row = "       "
            row += item
        lines += [row, "    },"] if of else ["    },"]
    path = Path(compared.__file__)
    path.write_text(re.sub(r"RATES: dict.*?\n}\n", "\n".join([*lines, "}"]) + "\n", path.read_text(), flags=re.S))


def main() -> None:
    """Tune, train and ship what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compared_garden", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="NAME", help="architectures, by default all")
    parser.add_argument("--models", type=Path, default=Path("runs/architectures"), help="where runs are kept")
    parser.add_argument("--extend", action=argparse.BooleanOptionalAction, default=True,
                        help="one rate beyond the grid where its best is the first or the last")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rates = {task: dict(compared.RATES[task]) for task in TASKS}
    for name in arguments.names:
        for task in TASKS:
            one = contender(token_task(task), name)
            tuned = tune(one, arguments.models, extend=arguments.extend)
            metrics = ship(one, tuned, arguments.models)
            rates[task][name] = tuned.rate
            write_rates(rates)
            print(f"{task:8} {name:18} rate {tuned.rate:g}  accuracy {metrics['accuracy']:.3f}", flush=True)


if __name__ == "__main__":
    main()
