"""`interp icl`: what a model learns from the examples in its prompt."""

from typing import Annotated

import typer

from interp.commands import icl_analyses
from interp.commands.shared import Debug, Json, Out, Seed, print_json, print_table, records, register, stdout

app = typer.Typer(
    help="What a model learns from the examples in its prompt: how well, by which algorithm, and where.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="\b\nStart with:\n  interp icl run garden/icl-linear-d5",
)

FunctionClass = Annotated[
    str | None,
    typer.Option("--task", metavar="CLASS", show_default=False,
                 help="A class of functions, with its options: linear, noisy:noise=0.25, linear:shift=opposite ... By "
                 "default the one a shipped model was trained on."),
]


def add_to(parent: typer.Typer) -> None:
    """Register the group."""
    register(app, run, "Show error or accuracy by the number of examples.", "interp icl run garden/icl-linear-d5",
             "interp icl run garden/icl-linear-d5 --task linear:shift=x-scale,amount=3")
    icl_analyses.add_to(app)
    parent.add_typer(app, name="icl", short_help="In-context learning: how well, which algorithm, where.")


def run(
    model: Annotated[str, typer.Argument(help="A shipped model (garden/icl-linear-d5) or a folder.", metavar="MODEL",
                                         show_default=False)],
    task: FunctionClass = None,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, metavar="N", show_default=False, help="Points of a prompt; by default, all it has."),
    ] = None,
    prompts: Annotated[int, typer.Option("--prompts", min=2, metavar="N", help="How many prompts.")] = 1000,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="NAME", show_default=False,
                     help='What to show beside it: "ridge", "newton 3", "lasso" ... Repeat for more.'),
    ] = None,
    out: Out = None,
    seed: Seed = 100_000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the model's error (or accuracy) by the number of examples in its prompt, with the predictors that belong to
    the class of functions beside it.

    Writes a run folder with table, figure and report.html.
    """
    from interp.commands.opened import model_hash, open_model, open_run
    from interp.icl import run as measure
    from interp.icl.baselines import baseline as find_baseline
    from interp.icl.curves import check_reads, points_of
    from interp.results.report import Section

    hooked = open_model(model)
    found_task = open_class(task, hooked.name)
    n = points_of(hooked, found_task) if n is None else n
    check_reads(hooked, found_task.sample(1, n, seed))
    for name in baseline or ():
        find_baseline(name)
    config = {"model": model, "task": task or hooked.name, "n": n, "prompts": prompts, "baseline": baseline}
    with open_run(out, "icl-run", config, seed, False) as folder:
        folder.set_model(model_hash(hooked))
        with folder.timed("curves"):
            curves = measure(hooked, found_task, n=n, prompts=prompts, seed=seed, baselines=baseline)
        curves.save(folder)
        folder.record(last=curves.estimate(-1))
        folder.save_report(f"{hooked.name} on {found_task.name}", [
            Section("By the number of examples", f"{prompts} fresh prompts (seed {seed}). " + MEANING[curves.metric],
                    curves.table(), curves.figure(), note="Bands are 95 % bootstrap intervals over prompts.")])
    if as_json:
        print_json({"model": hooked.name, "task": found_task.name, "seed": seed, "metric": curves.metric,
                    "curves": records(curves.frame()), "run": str(folder.path)})
        return
    print_table(curves.table(), f"{curves.metric} of {hooked.name} on {found_task.name}, {prompts} prompts", rows=200)
    stdout().print(f"with {curves.n - 1} examples: {curves.estimate(-1)}", markup=False)
    stdout().print(f"written to {folder.path / 'report.html'}", soft_wrap=True)


MEANING = {
    "error": "Errors are squared and divided by what predicting 0 costs on average.",
    "accuracy": "Accuracy is the share of right signs.",
}


def open_class(task: str | None, model: str):
    """The class of functions called so, or that of a shipped model. Raises BadInput where none is known."""
    from interp.garden.icl import trained_on
    from interp.tasks.functions import function_task

    return trained_on(model) if task is None else function_task(task)
