"""`interp discover | evaluate`: finding a circuit, and testing it on prompts that it has not seen."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import Debug, Json, Model, Out, Prompts, Resume, Seed, register

if TYPE_CHECKING:
    import pandas as pd

    from interp.discovery import Evaluation
    from interp.hooks import HookedModel
    from interp.results import Circuit, Run
    from interp.tasks import Task

Draws = Annotated[
    int, typer.Option("--draws", metavar="N", min=0, help="Random circuits of the same size to compare with.")
]


def add_to(app: typer.Typer) -> None:
    """Register these commands."""
    register(
        app, discover, "Find the circuit of a task in a model.", "interp discover induction --model garden/induction-2l"
    )
    register(
        app, disagreement, "Where methods disagree about a node, and why.",
        "interp disagreement induction --model garden/induction-2l",
    )
    register(
        app, evaluate, "Test a circuit on held-out prompts.", "interp evaluate runs/discover-induction-1/circuit.json"
    )


def discover(
    task: Annotated[
        str, typer.Argument(help="ioi, greater-than, induction ... an unknown name lists all.", metavar="TASK")
    ],
    model: Model,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="NAME",
            help="auto, or a rule set: ablation, tangent, relp, cdt ... auto is exact up to --budget nodes.",
        ),
    ] = "auto",
    out: Out = None,
    resume: Resume = False,
    n: Prompts = 96,
    edges: Annotated[
        bool, typer.Option("--edges/--nodes", help="Find it among edges: what one node writes and another reads.")
    ] = False,
    position: Annotated[
        list[int] | None,
        typer.Option(
            "--position",
            metavar="POS",
            show_default=False,
            help="Split every node by token position; repeat for more. -1 is the last token.",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            "--budget", metavar="N", min=1, show_default=False,
            help="What auto scores exactly; by default 512 nodes or 2048 edges.",
        ),
    ] = None,
    within: Annotated[
        tuple[float, float],
        typer.Option(
            "--within",
            metavar="LOW HIGH",
            help="The circuit is the smallest whose faithfulness stays in here.",
        ),
    ] = (0.8, 1.2),
    evaluate: Annotated[bool, typer.Option("--evaluate/--no-evaluate", help="Test it on held-out prompts.")] = True,
    draws: Draws = 200,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find the circuit of a task in a model: the heads and MLPs that it takes to do what the model does.

    Every node is scored by what is lost when it is put at its value on the counterfactual prompts. The size is chosen
    on a second part of the prompts, and the evidence is measured on a third: faithfulness with its interval, random
    circuits of the same size, removal in groups. The folder gets circuit.json, tables, figures and report.html.
    """
    from interp.commands.opened import model_hash, open_model, open_run, open_task
    from interp.commands.printed import print_discovery
    from interp.commands.resume import KeptEffects
    from interp.discovery import discover as find
    from interp.discovery.edges import check_edge_method
    from interp.discovery.methods import check_method
    from interp.results.errors import BadInput

    (check_edge_method if edges else check_method)(method)
    if not within[0] < within[1]:
        raise BadInput(f"--within is {within[0]:g} {within[1]:g}; give two rising numbers, such as 0.8 1.2")
    hooked = open_model(model)
    prompts = open_task(task, hooked, n, seed)
    for place in position or ():
        prompts.lengths.absolute(place)  # raises where a prompt has no such token
    audit = prompts.audit(hooked)
    config = {
        "model": model,
        "task": task,
        "n": n,
        "method": method,
        "level": "edges" if edges else "nodes",
        "budget": budget,
        "within": list(within),
        "position": position,
        "evaluate": evaluate,
        "draws": draws,
    }
    with open_run(out, "discover", config, seed, resume) as run:
        run.set_model(model_hash(hooked))
        with run.timed("discover"):
            circuit = find(
                hooked,
                prompts,
                method,
                positions=position,
                level=config["level"],
                budget=budget,
                within=tuple(within),
                seed=seed,
                done=KeptEffects(run),
            )
        circuit = replace(circuit, provenance=circuit.provenance | {"model": model, "n": n})
        circuit.save(run)
        run.save_table("task_audit", audit.frame())
        found = _tested(run, hooked, circuit, prompts, draws, seed, audit.frame()) if evaluate else None
        run.clear_parts()
    print_discovery(run, circuit, audit, found, as_json)


def disagreement(
    task: Annotated[str, typer.Argument(help="ioi, greater-than, induction ...", metavar="TASK")],
    model: Model,
    n: Prompts = 48,
    qkv: Annotated[bool, typer.Option("--qkv", help="Queries, keys and values too.")] = False,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Where methods disagree about a node, and why.

    Every head, mixer and MLP with what removing it costs, what restoring it alone brings back, what gradients say of
    it, and the reason where these differ: saturation, repair by others, work done only together, paths that cancel.
    """
    from interp.commands.opened import model_hash, open_model, open_run, open_task
    from interp.commands.printed import print_disagreement
    from interp.discovery.disagreement import disagreement as compare
    from interp.discovery.nodes import nodes

    hooked = open_model(model)
    prompts = open_task(task, hooked, n, seed)
    config = {"model": model, "task": task, "n": n, "qkv": qkv}
    with open_run(out, "disagreement", config, seed, False) as run:
        run.set_model(model_hash(hooked))
        found = compare(hooked, prompts.part("discover"), nodes(hooked, qkv=qkv))
        found.save(run)
    print_disagreement(run, found, as_json)


def _tested(
    run: "Run",
    model: "HookedModel",
    circuit: "Circuit",
    task: "Task",
    draws: int,
    seed: int,
    audit: "pd.DataFrame",
    truth: "Circuit | None" = None,
) -> "Evaluation":
    """The evaluation, its tables and the report in the run folder."""
    from interp.commands.resume import KeptEffects
    from interp.discovery import evaluate as test
    from interp.discovery.report import sections

    with run.timed("evaluate"):
        found = test(model, circuit, task, draws=draws, seed=seed, truth=truth, done=KeptEffects(run))
    found.save(run)
    controls = {control.kind: control.p for control in found.controls}
    run.record(nodes=len(circuit.nodes), faithfulness=found.faithfulness, random_p=controls)
    run.save_report(f"{circuit.task} in {circuit.model}", sections(found, audit))
    return found


def evaluate(
    circuit: Annotated[Path, typer.Argument(help="A circuit.json, or the run folder it is in.", metavar="CIRCUIT")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", show_default=False, help="By default the model it was found in."
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="TASK", show_default=False, help="By default the task it was found for."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth", metavar="CIRCUIT", show_default=False,
            help="The known circuit, or the run folder it is in, for AUPRC, AUROC and F1.",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            metavar="N",
            min=3,
            show_default=False,
            help="How many prompts to make; by default as when it was found.",
        ),
    ] = None,
    draws: Draws = 200,
    out: Out = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            show_default=False,
            help="By default that of the discovery, so that the test prompts are the ones it has not seen.",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Test a circuit on held-out prompts: faithfulness, necessity, completeness, minimality, random circuits.

    With another --model or --task it says whether the circuit carries over. A circuit from elsewhere is JSON of the
    same form: nodes are sites with a head, as {"blocks.0.attn.hook_z[head=1]": 1.0}.
    """
    from interp.commands.opened import model_hash, open_model, open_run, open_task
    from interp.commands.printed import print_evaluation
    from interp.results import Circuit

    path = _file(circuit)
    given = Circuit.load(path)
    known = None if truth is None else Circuit.load(_file(truth))
    found_with: dict[str, Any] = given.provenance
    name = model or str(found_with.get("model") or given.model)
    seed = int(found_with.get("seed", 0)) if seed is None else seed
    n = int(found_with.get("n", 96)) if n is None else n
    hooked = open_model(name)
    _check_nodes(given, hooked)
    prompts = open_task(task or given.task, hooked, n, seed)
    audit = prompts.audit(hooked)
    config = {
        "circuit": str(path),
        "model": name,
        "task": task or given.task,
        "n": n,
        "draws": draws,
        "truth": None if truth is None else str(truth),
    }
    with open_run(out, "evaluate", config, seed, False) as run:
        run.set_model(model_hash(hooked))
        given.save(run)
        found = _tested(run, hooked, given, prompts, draws, seed, audit.frame(), known)
    print_evaluation(run, given, audit, found, as_json)


def _file(given: Path) -> Path:
    """The circuit.json of a run folder; a file as it is."""
    return given / "circuit.json" if given.is_dir() else given


def _check_nodes(circuit: "Circuit", model: "HookedModel") -> None:
    """Raises MissingSite or BadInput, naming the nearest, for a node that the model does not have."""
    from interp.discovery.nodes import source
    from interp.results import BadInput

    if not circuit.nodes and not circuit.edges:
        raise BadInput("the circuit has no nodes: there is nothing to evaluate")
    for node in circuit.scores:
        source(node).check(model.site(node.site))
