"""`interp compare-architectures`: architectures trained alike on a small task, measured alike, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.shared import Debug, Json, Out, print_json, print_table, records, register, stdout

if TYPE_CHECKING:
    from interp.garden.comparison.result import Comparison

KEPT = Path("runs/architectures")


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(
        app, compare_architectures, "Lay architectures side by side, trained alike.",
        "interp compare-architectures recall",
        "interp compare-architectures repeats --models gpt,mamba,gla --seeds 3 --out runs/repeats",
    )


def compare_architectures(
    task: Annotated[str, typer.Argument(help="recall, repeats, dyck or text.", metavar="TASK", show_default=False)],
    models: Annotated[
        str | None,
        typer.Option("--models", "-m", metavar="NAMES", show_default=False,
                     help="Names of the catalog or beginnings that fit one (sigmoid), with commas between them; by "
                          "default those that ship for the task."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="How many seeds, from 0 on.")] = 1,
    rates: Annotated[
        str, typer.Option("--rates", metavar="NUMBERS", help="The grid of learning rates, with commas between them.")
    ] = "0.001,0.004,0.016",
    parameters: Annotated[
        int, typer.Option("--parameters", metavar="N", min=1000, help="Parameters that each is to have.")
    ] = 40_000,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, show_default=False, help="Training steps; by default the task's."),
    ] = None,
    shipped: Annotated[
        bool, typer.Option("--shipped/--no-shipped", help="Take the garden's models where they fit.")
    ] = True,
    keep: Annotated[
        Path, typer.Option("--keep", metavar="DIR", help="Where trained models are kept, and found again.")
    ] = KEPT,
    out: Out = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train architectures of the catalog alike on one task, or load them, and lay them side by side.

    All get the same data and seeds and as many parameters as one another; each gets the learning rate that is best for
    it on seed 0, from a grid whose whole curve is shown. Accuracy is on held-out rows, with an interval over seeds;
    beside it stand what heads look at (or the matrix a mixer without heads stands for), the size of the circuit, the
    profile by depth, the numbers carried from token to token, and operations a token.
    Models that are trained are kept, so that the same command goes on where it was stopped. Writes a run folder with
    tables, figures and report.html.
    """
    from interp.commands.opened import open_run
    from interp.garden.comparison import compare_architectures as compare

    names, grid = _names(models, task), _numbers(rates)
    config = {"task": task, "models": names, "seeds": seeds, "rates": grid, "parameters": parameters, "steps": steps}
    found = compare(task, names, seeds=seeds, folder=keep, parameters=parameters, rates=grid, steps=steps,
                    shipped=shipped)
    with open_run(out, "compare-architectures", config, 0, False) as run:
        found.save(run)
        run.record(**{f"{name} {found.score}": found.estimate(name, found.score).value for name in found.architectures})
        run.save_report(f"Architectures on {task}", found.sections())
    if as_json:
        print_json({"task": task, "score": found.score, "chance": found.chance, "architectures": records(found.frame()),
                    "models": records(found.models()), "rates": records(found.rates()), "run": str(run.path)})
        return
    _print(found)
    stdout().print(f"written to {run.path / 'report.html'}", soft_wrap=True)


def _names(text: str | None, task: str) -> list[str]:
    from interp.garden.catalog import full_name
    from interp.garden.comparison.compare import DEFAULT
    from interp.garden.recipes.compared import RATES
    from interp.results.errors import BadInput

    if text is None:
        return list(RATES.get(task) or DEFAULT)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadInput("--models names no architecture; write names of the catalog with commas between them")
    return [full_name(name) for name in names]


def _numbers(text: str) -> list[float]:
    from interp.results.errors import BadInput

    try:
        return [float(number) for number in text.split(",") if number.strip()]
    except ValueError:
        raise BadInput(f"--rates is {text!r}; write numbers with commas between them, such as 0.001,0.004") from None


def _print(found: "Comparison") -> None:
    table = found.frame()
    first = ["architecture", "layers", "d_model", "parameters", "rate", "seeds", found.score, "low", "high"]
    chance = "" if found.chance is None else f" (chance {found.chance:.2f})"
    better = ", lower is better" if found.lower else ""
    print_table(table[first].dropna(axis="columns", how="all"), f"{found.task}: {found.score} on held-out rows{chance}"
                + better, rows=200)
    stdout().print()
    inside = ["architecture", "previous_token", "prefix_matching", "mixing", "circuit_mass", "circuit_written",
              "circuit"]
    print_table(table[inside].dropna(axis="columns", how="all"), "inside: most of any head, circuit", rows=200)
    stdout().print()
    work = ["architecture", "half_written", "half_output", "state_start", "state_end", "products", "elementwise"]
    print_table(table[work].dropna(axis="columns", how="all"), "depth, numbers carried, operations a token", rows=200)
    stdout().print()
    rates = found.rates().pivot(index="architecture", columns="rate", values="select_loss").loc[found.architectures]
    rates.columns = [f"{rate:g}" for rate in rates.columns]
    print_table(rates.reset_index(), "loss by learning rate (nats, rows of their own, seed 0)", rows=200)
    stdout().print()
    absent = found.models().query("absent != ''").drop_duplicates(["architecture", "absent"])
    for row in absent.to_dict("records"):
        stdout().print(f"{row['architecture']}: {row['absent']}", markup=False, soft_wrap=True)
