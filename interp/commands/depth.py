"""`interp depth`: how a model uses its layers."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import (
    Debug,
    Json,
    Out,
    Seed,
    note,
    print_json,
    print_table,
    records,
    register,
    stdout,
)

if TYPE_CHECKING:
    from interp.depth.examples import Examples
    from interp.hooks import HookedModel


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    register(app, depth, "Show what a model does at each depth.", "interp depth garden/text-small",
             "interp depth rxnmapper --task atom-mapping --skip current --skip past")


def depth(
    model: Annotated[str, typer.Argument(help="A shipped or real model, a folder, a Hugging Face id, timm/NAME.",
                                         metavar="MODEL", show_default=False)],
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASK", show_default=False,
                     help="Look at the prompts of a task in place of held-out text or pictures."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="How many prompts or pictures.")] = 8,
    tokens: Annotated[int, typer.Option("--tokens", min=2, metavar="N", help="Tokens of a window of text.")] = 64,
    skip: Annotated[
        list[str] | None,
        typer.Option("--skip", metavar="MODE", show_default=False,
                     help="Skip effects to measure: current, future, past, local, or none; repeat for more. By default "
                     "current, and future for a causal model."),
    ] = None,
    tuned: Annotated[
        int, typer.Option("--tuned", metavar="N", min=0, help="Fit a tuned lens on N windows of text; 0 for none.")
    ] = 0,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what a model does at each depth: how long its stream is, what every block and branch writes, how close each
    depth is to the answer, and what changes when a block is left out.

    Writes a run folder with tables, figures and report.html.
    """
    from interp.commands.opened import model_hash, open_model, open_run
    from interp.depth import profile, skip_effects
    from interp.depth.report import sections, summary
    from interp.depth.structures import structure

    hooked = open_model(model)
    modes = _modes(skip, hooked)
    shown = _examples(hooked, task, n, tokens, seed)
    config = {"model": model, "task": task, "n": n, "tokens": tokens, "skip": modes, "tuned": tuned}
    with open_run(out, "depth", config, seed, False) as run:
        run.set_model(model_hash(hooked))
        with run.timed("tuned lens"):
            lens = _tuned(hooked, tuned, tokens, seed, run) if tuned else None
        with run.timed("profile"):
            found = profile(hooked, shown.x, tuned=lens, clusters=shown.clusters)
        skips = []
        for mode in modes:
            with run.timed(f"skip {mode}"):
                skips.append(skip_effects(hooked, shown.x, mode, clusters=shown.clusters))
        with run.timed("structure"):
            whole = structure(hooked, shown.x, seed)
        for result in (found, *skips, whole):
            result.save(run)
        run.record(**summary(found, skips))
        run.save_report(f"{hooked.name}: depth", sections(found, skips, shown.what) + whole.sections())
    if as_json:
        print_json({"model": hooked.name, "inputs": shown.what, "seed": seed, "summary": summary(found, skips),
                    "profile": records(found.table()), "massive": records(found.massive()),
                    "skip": {s.mode: records(s.output_frame()) for s in skips},
                    "influence": records(whole.influence), "absent": whole.absent, "run": str(run.path)})
        return
    _print(hooked, found, skips, shown)
    if whole.phases is not None:
        k, sure = whole.phases.k, whole.phases.k_gain
        stdout().print(f"phases: max-cut gives {k} segments; " + (
            f"the best {sure} are surely better than an even pace" if sure > 1 else
            "no number of them is surely better than an even pace"
        ))
    if whole.loops is not None:
        print_table(whole.loops.frame(), "loops, visit by visit")
    stdout().print(f"written to {run.path / 'report.html'}", soft_wrap=True)


def _modes(skip: list[str] | None, model: "HookedModel") -> list[str]:
    from typing import get_args

    from interp.depth.skip import Mode
    from interp.results.errors import BadInput, nearest

    if skip is None:
        return ["current", "future"] if model.map.causal else ["current"]
    there = (*get_args(Mode), "none")
    for mode in skip:
        if mode not in there:
            raise BadInput(f"there is no skip mode {mode!r}.{nearest(mode, there)} There are: {', '.join(there)}")
    return [mode for mode in dict.fromkeys(skip) if mode != "none"]


def _examples(model: "HookedModel", task: str | None, n: int, tokens: int, seed: int) -> "Examples":
    from interp.depth.examples import Examples, examples

    if task is None:
        return examples(model, n, tokens, seed)
    from interp.commands.opened import open_task

    prompts = open_task(task, model, max(n, 3), seed)
    return Examples(prompts.clean, f"{len(prompts)} prompts of the task {task}", [str(c) for c in prompts.clusters])


def _tuned(model: "HookedModel", n: int, tokens: int, seed: int, run: Any) -> Any:
    from interp.depth.examples import examples
    from interp.lens import fit_tuned_lens

    lens = fit_tuned_lens(model, examples(model, n, tokens, seed, "train").x)
    width = len(next(iter(lens.shifts.values())))
    if lens.n_tokens < 4 * width:
        note(f"the tuned lens was fitted on {lens.n_tokens} tokens for a stream of {width} channels: give more windows")
    lens.save(run)
    return lens


def _print(model: "HookedModel", found: Any, skips: list[Any], shown: "Examples") -> None:
    import pandas as pd

    print_table(found.table(), f"{model.name} on {shown.what}", rows=200)
    if skips:
        table = {"left out": skips[0].skipped}
        for s in skips:
            table[f"{s.mode}: output"] = s.output_mean.mean(1).numpy()
            table[f"{s.mode}: later"] = s.strength().mean(1).numpy()
        print_table(pd.DataFrame(table), f"what leaving a block out changes (output: {skips[0].output_unit})", rows=200)
    massive = found.massive()
    if len(massive):
        print_table(massive.drop(columns=["from_depth", "to_depth"]), "massive activations", rows=8)
    else:
        stdout().print(f"no token's stream is {found.threshold:g} times as long as the median token's anywhere")
