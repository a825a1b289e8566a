"""`interp train`: making a model of the garden again, from its recipe and a seed."""

from typing import Annotated

import typer

from interp.commands.shared import Debug, Json, Out, Seed, going_on, print_json, register, stdout


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(
        app, train, "Train a small model from its recipe.", "interp train induction-2l --seed 1 --out runs/my-induction"
    )


def train(
    recipe: Annotated[
        str,
        typer.Argument(help="induction-2l, induction-1l, mod-add-29 ... an unknown name lists all.", metavar="RECIPE"),
    ],
    out: Out = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", metavar="N", min=1, show_default=False, help="Fewer or more steps than the recipe has."
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda ...")] = "cpu",
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a small model from its recipe: the same seed gives the same model.

    The folder gets the weights, and the metrics beside them; --model takes it then. A training that was stopped
    goes on when the same command is given again.
    """
    import json

    from interp.commands.opened import RUNS
    from interp.garden.recipes import recipe as find_recipe
    from interp.garden.train import train as make
    from interp.results.errors import BadInput

    find_recipe(recipe)
    _check_device(device)
    folder = out or RUNS / f"train-{recipe}-seed{seed}"
    if (folder / "metrics.json").exists():
        raise BadInput(f"{folder} holds a trained model already: choose another folder with --out")
    with going_on():
        make(recipe, out=folder, seed=seed, steps=steps, device=device)
    record = json.loads((folder / "metrics.json").read_text())
    if as_json:
        print_json(record | {"folder": str(folder)})
        return
    stdout().print(f"[bold]{recipe}[/], seed {seed}, {record['steps']} steps")
    for name, value in record["metrics"].items():
        shown = f"{value:.4g}" if isinstance(value, float) else json.dumps(_rounded(value))
        stdout().print(f"  {name}: {shown}", markup=False, soft_wrap=True)
    stdout().print(f"written to {folder}; use it with --model {folder}", soft_wrap=True)


def _check_device(name: str) -> None:
    import torch

    from interp.results.errors import BadInput

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"there is no device {name!r} here ({str(error).splitlines()[0][:80]}); use cpu") from error


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
