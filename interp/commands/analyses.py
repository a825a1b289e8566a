"""`interp effects | decompose`: what parts of a model do to a metric, and to an activation."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import (
    Debug,
    Json,
    Keep,
    Model,
    Prompts,
    Resume,
    Seed,
    print_json,
    print_table,
    register,
    stdout,
)

if TYPE_CHECKING:
    from torch import Tensor

    from interp.hooks import HookedModel
    from interp.results import Node
    from interp.tasks import Task

Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        "-s",
        metavar="NODE",
        show_default=False,
        help="A head (L3H5), an MLP (MLP3) or a site, with @POS for one position; repeat for more. By default all "
        "heads and MLPs.",
    ),
]
Top = Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many rows to print.")]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register(
        app,
        effects,
        "Measure what each part does to a metric.",
        "interp effects induction --model garden/induction-2l --rules tangent",
    )
    register(
        app,
        decompose,
        "Take an activation apart by its sources.",
        "interp decompose --tokens '0 5 9 3 5 9' --model garden/induction-2l --source L0H1 --target output",
    )


def effects(
    task: Annotated[str, typer.Argument(help="The task whose metric is measured: ioi, induction ...", metavar="TASK")],
    model: Model,
    rules: Annotated[
        str,
        typer.Option(
            "--rules", metavar="NAME", help="ablation (exact), tangent, integrated, relp, frozen, direct, cdt ..."
        ),
    ] = "ablation",
    source: Sources = None,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", metavar="NAME", help="What a removed source is put at: counterfactual, mean (over the "
            "counterfactual prompts) or zero."
        ),
    ] = "counterfactual",
    n: Prompts = 64,
    top: Top = 20,
    out: Keep = None,
    resume: Resume = False,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure what each part of a model does to the metric of a task: clean minus intervened, one number a prompt.

    Without --out nothing is written. With it the folder keeps the table, the numbers of every prompt and a figure.
    """
    from contextlib import nullcontext

    from interp.commands.opened import model_hash, open_model, open_run, open_task, read_node
    from interp.commands.resume import KeptEffects
    from interp.discovery.nodes import nodes as all_nodes
    from interp.discovery.nodes import source as source_of
    from interp.effects import rule_set
    from interp.effects.api import effects as measure

    chosen = rule_set(rules)
    hooked = open_model(model)
    prompts = open_task(task, hooked, n, seed)
    nodes = [read_node(text, hooked) for text in source] if source else all_nodes(hooked)
    base = _baseline(baseline, prompts)
    behaviour = prompts.audit(hooked)["effect"]
    config = {"model": model, "task": task, "n": n, "rules": rules, "baseline": baseline, "source": source}
    keep = out is not None or resume
    with open_run(out, "effects", config, seed, resume) if keep else nullcontext() as run:
        if run is not None:
            run.set_model(model_hash(hooked))
        found = measure(
            hooked,
            prompts.clean,
            [source_of(node) for node in nodes],
            prompts.metric,
            rules,
            baseline=base,
            clusters=prompts.clusters,
            done=None if run is None else KeptEffects(run),
        )
        if run is not None:
            found.save(run)
            run.clear_parts()
    frame = found.frame()
    frame.insert(0, "node", [node.label for node in nodes])
    frame = frame.sort_values("effect", key=abs, ascending=False).drop(columns=["site", "head"])
    if as_json:
        from interp.commands.shared import records

        print_json(
            {
                "model": hooked.name,
                "task": task,
                "rules": rules,
                "limits": chosen.limits,
                "baseline": baseline,
                "n": n,
                "seed": seed,
                "clean_minus_corrupt": behaviour.value,
                "unit": found.unit,
                "cost": found.cost,
                "effects": records(frame),
                "run": None if run is None else str(run.path),
            }
        )
        return
    stdout().print(behaviour.detail, markup=False, soft_wrap=True)
    title = f"{rules} effects on {task} ({found.unit or 'metric'}), n = {n}, seed {seed}, baseline {_SAID[baseline]}"
    print_table(frame.drop(columns="source"), title, top)
    units = f"{behaviour.value.n} {behaviour.value.unit}"
    stdout().print(f"[dim]low, high: 95 % interval of the mean, {units} resampled; largest: the largest size on one "
                   "prompt.[/]", soft_wrap=True)
    stdout().print(f"[dim]{chosen.computes}. Limits: {chosen.limits}.[/]")
    stdout().print(f"{found.cost.get('forwards', 0):.1f} forwards" + (f"; written to {run.path}" if run else ""))


_SAID = {"counterfactual": "counterfactual", "mean": "mean over the counterfactual prompts", "zero": "zero"}


def _baseline(name: str, task: "Task") -> Any:
    from interp.hooks import Counterfactual, Mean
    from interp.results.errors import BadInput, nearest

    there = {"counterfactual": Counterfactual(task.corrupt), "mean": Mean(over=task.corrupt), "zero": "zero"}
    if name not in there:
        raise BadInput(f"there is no baseline {name!r}.{nearest(name, there)} There are: {', '.join(there)}")
    return there[name]


def decompose(
    model: Model,
    text: Annotated[
        str | None,
        typer.Argument(help="The prompt, for a model with a tokenizer.", metavar="[TEXT]", show_default=False),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option("--tokens", metavar="IDS", show_default=False, help="The prompt as token ids, in place of TEXT."),
    ] = None,
    source: Sources = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="SITE",
            show_default=False,
            help="The activation that is taken apart; repeat for more. By default the output.",
        ),
    ] = None,
    rules: Annotated[
        str, typer.Option("--rules", metavar="NAME", help="cdt, local-shapley, frozen, tangent ...")
    ] = "cdt",
    baseline: Annotated[str, typer.Option("--baseline", metavar="NAME", help="zero.")] = "zero",
    top: Top = 20,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take an activation of one prompt apart: which part of it is due to which head or MLP.

    Prints for every source and target the mean size of the part that is due to it, of the rest, and its share.
    """
    from interp.commands.opened import open_model, read_node
    from interp.commands.shared import records
    from interp.discovery.nodes import nodes as all_nodes
    from interp.discovery.nodes import source as source_of
    from interp.effects import decompose as take_apart
    from interp.effects import rule_set
    from interp.results.errors import BadInput

    chosen = rule_set(rules)
    if baseline != "zero":
        raise BadInput(
            f"one prompt has the baseline 'zero' only, not {baseline!r}; Python's interp.decompose takes all"
        )
    hooked = open_model(model)
    x = _prompt(hooked, text, tokens)
    nodes: list[Node] = [read_node(name, hooked) for name in source] if source else all_nodes(hooked)
    targets = [site.name for site in hooked.sites(target)] if target else ["output"]
    found = take_apart(
        hooked, x, sources=[source_of(node) for node in nodes], targets=targets, rules=rules, baseline=baseline
    )
    frame = found.frame().sort_values("share", ascending=False, kind="stable")
    if as_json:
        print_json(
            {
                "model": hooked.name,
                "rules": rules,
                "limits": chosen.limits,
                "targets": targets,
                "seed": seed,
                "parts": records(frame),
            }
        )
        return
    print_table(frame, f"{rules}: parts of {', '.join(targets)}, the largest share first", top)
    stdout().print("[dim]relevant, irrelevant: mean size of a number of the target, in its own unit; share: relevant / "
                   "(relevant + irrelevant).[/]", soft_wrap=True)
    stdout().print(f"[dim]{chosen.computes}. Limits: {chosen.limits}.[/]")


def _prompt(model: "HookedModel", text: str | None, tokens: str | None) -> "Tensor":
    """Token ids [1, pos] of what was typed."""
    import torch

    from interp.results.errors import BadInput
    from interp.tasks.text import encode

    if (text is None) == (tokens is None):
        raise BadInput("give the prompt once: as TEXT, or as token ids with --tokens '3 1 4'")
    if tokens is not None:
        words = tokens.replace(",", " ").split()
        if not words or not all(word.isdecimal() for word in words):
            raise BadInput(f"--tokens {tokens!r} are no token ids; write whole numbers, such as '3 1 4'")
        return torch.tensor([[int(word) for word in words]])
    if model.tokenizer is None:
        raise BadInput(f"{model.name} has no tokenizer; give token ids: --tokens '3 1 4'")
    return torch.tensor([encode(model.tokenizer, text)])
