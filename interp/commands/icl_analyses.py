"""`interp icl match|probe|paste`: which algorithm, what can be read where, and whether the upper blocks do it alone."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import Debug, Json, Out, Seed, print_json, print_table, records, register, stdout

if TYPE_CHECKING:
    import pandas as pd

ModelName = Annotated[
    str, typer.Argument(help="A shipped model (garden/icl-linear-d5) or a folder.", metavar="MODEL", show_default=False)
]
ClassName = Annotated[
    str | None,
    typer.Option("--task", metavar="CLASS", show_default=False,
                 help="A class of functions with options (noisy:noise=0.25); by default the one it was trained on."),
]
Points = Annotated[
    int | None,
    typer.Option("--n", min=3, metavar="N", show_default=False, help="Points of a prompt; by default, all it holds."),
]


def add_to(app: typer.Typer) -> None:
    """Register these commands in the group `icl`."""
    register(app, match, "Compare its depths with the steps of algorithms.", "interp icl match garden/icl-linear-d5")
    register(app, probe, "Show what can be read at each depth.", "interp icl probe garden/icl-representation")
    register(app, paste, "Put its upper blocks on plain linear prompts.",
             "interp icl paste garden/icl-representation --start 2")


def match(
    model: ModelName, task: ClassName = None, n: Points = None,
    prompts: Annotated[int, typer.Option("--prompts", min=20, metavar="N", help="Prompts of each condition.")] = 500,
    out: Out = None, seed: Seed = 0, as_json: Json = False, debug: Debug = False,
) -> None:
    """Compare what every depth would answer with every step of gradient descent, GD++, heavy ball, Chebyshev, conjugate
    gradients and Newton, in the training distribution and out of it, and say which algorithm the rule finds, if any.

    Writes a run folder with tables, heatmaps and report.html.
    """
    from interp.icl.match import match_algorithms
    from interp.icl.match_figures import curves, rates_frame
    from interp.results.report import Section

    hooked, found_task = _opened(model, task)
    config = {"model": model, "task": task or hooked.name, "n": n, "prompts": prompts}
    with _run("icl-match", hooked, out, config, seed) as run:
        with run.timed("match"):
            found = match_algorithms(hooked, found_task, n, prompts=prompts, seed=seed)
        found.save(run)
        verdict = found.verdict()
        run.record(verdict=verdict.algorithm, reason=verdict.reason)
        run.save_report(f"{hooked.name}: which algorithm", [
            Section("Verdict", f"{verdict}.", verdict.frame(), note=RULE),
            Section("In distribution", "Similarity of errors (SimE) of every depth's read-out and every step.",
                    found.frame(), found.figure()),
            Section("Out of distribution", f"The same on the hardest condition: {found.conditions[-1]}.", found.frame(),
                    found.figure(found.conditions[-1])),
            Section("What each depth would answer", "Squared error of the read-outs over that of the answer 0.",
                    found.error_frame(), curves(found)),
            Section("Speed", "By how much a depth divides the error, in nats, from the first active depth on.",
                    rates_frame(found)),
        ])
    table = found.frame()
    _show(as_json, run, hooked, seed, {"verdict": str(verdict), "depths": records(verdict.frame())},
          table, f"{hooked.name} on {found_task.name}: steps chosen in distribution, judged outside",
          f"verdict: {verdict}")


RULE = ("A depth is active where its read-out errs less than 0. A family is a candidate at a depth where SimE out of "
        "distribution, at the step chosen in distribution, is at least 0.9 (0.85 under each condition), above a random "
        "model's and not below the best family's; the verdict is the family that is a candidate at every active depth "
        "with rising steps.")


def probe(
    model: ModelName, task: ClassName = None, n: Points = None,
    since: Annotated[int, typer.Option("--since", min=0, metavar="K", help="Leave the first K points out.")] = 0,
    out: Out = None, seed: Seed = 0, as_json: Json = False, debug: Debug = False,
) -> None:
    """Show what a linear probe reads at each depth, at tokens of points and of answers: the point, its representation,
    the answer, the best prediction, the weights; beside a control target and the floor of the embedding.

    Writes a run folder with table, figure and report.html.
    """
    from interp.icl.probes import probe as fit_probes
    from interp.results.report import Section

    hooked, found_task = _opened(model, task)
    config = {"model": model, "task": task or hooked.name, "n": n, "since": since}
    with _run("icl-probe", hooked, out, config, seed) as run:
        with run.timed("probe"):
            found = fit_probes(hooked, found_task, n, since=since, seed=seed)
        found.save(run)
        run.save_report(f"{hooked.name}: what can be read", [
            Section("Probes", f"R2 on prompts that the probes were not fitted on ({found.rows} rows for {found.width} "
                    "channels). Floor: the embedding. Control: a target of the same kind with nothing to be read.",
                    found.frame(), found.figure(), note="Bars are 95 % bootstrap intervals over prompts.")])
    table = found.frame().pivot_table(index=["target", "token"], columns="depth", values="r2").round(3).reset_index()
    _show(as_json, run, hooked, seed, {"probes": records(found.frame())}, table,
          f"R2 by depth in {hooked.name} on {found_task.name} (depth 0 is the floor)")


def paste(
    model: ModelName,
    start: Annotated[int, typer.Option("--start", min=0, metavar="D", help="The first block that is kept.")] = 1,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="CLASS", show_default=False,
                     help="What the blocks are to solve; by default linear functions of as many coordinates."),
    ] = None,
    n: Points = None,
    steps: Annotated[int, typer.Option("--steps", min=1, metavar="N", help="Training steps of an embedding.")] = 1500,
    out: Out = None, seed: Seed = 0, as_json: Json = False, debug: Debug = False,
) -> None:
    """Train three embeddings in front of the model's frozen upper blocks, on plain linear prompts, and the same with
    random blocks: how near to least squares does each come?

    Writes a run folder with table, figure and report.html.
    """
    from interp.commands.opened import open_model
    from interp.icl.pasting import paste as fit_paste
    from interp.results.report import Section
    from interp.tasks.functions import function_task

    hooked = open_model(model)
    plain = function_task(task) if task else function_task("linear", d=hooked.module.d_input)
    config = {"model": model, "start": start, "task": task, "n": n, "steps": steps}
    with _run("icl-paste", hooked, out, config, seed) as run:
        with run.timed("paste"):
            found = fit_paste(hooked, start, plain, n, steps=steps, seed=seed)
        found.save(run)
        run.save_report(f"{hooked.name}: pasted", [
            Section("Pasting", f"Blocks from {start} on, frozen, behind an embedding that is trained for {steps} steps "
                    f"on {plain.name} prompts.", found.summary(), found.figure(),
                    note="Recovered: share of the way from the control's error to that of least squares.")])
    _show(as_json, run, hooked, seed, {"pasting": records(found.frame()), "summary": records(found.summary())},
          found.summary(), f"error over the last half of the examples, blocks of {hooked.name} from {start} on")


def _opened(model: str, task: str | None) -> tuple[Any, Any]:
    from interp.commands.icl import open_class
    from interp.commands.opened import open_model

    hooked = open_model(model)
    return hooked, open_class(task, hooked.name)


def _run(command: str, hooked: Any, out: Any, config: dict[str, Any], seed: int) -> Any:
    from interp.commands.opened import model_hash, open_run

    run = open_run(out, command, config, seed, False)
    run.set_model(model_hash(hooked))
    return run


def _show(as_json: bool, run: Any, hooked: Any, seed: int, facts: dict[str, Any], table: "pd.DataFrame", title: str,
          line: str = "") -> None:
    if as_json:
        print_json({"model": hooked.name, "seed": seed, **facts, "run": str(run.path)})
        return
    print_table(table, title, rows=200)
    if line:
        stdout().print(line, markup=False, soft_wrap=True)
    stdout().print(f"written to {run.path / 'report.html'}", soft_wrap=True)
