"""`make demo`: the circuit of a small model that ships, found exactly, tested on held-out prompts, and named.

Two layers of attention learn to continue a repeated sequence with a head that looks at the token before and heads that
look behind the earlier occurrence (Elhage et al. 2021; Olsson et al. 2022, arXiv 2209.11895). Here causal effects find
the heads, and attention, measured apart from them, says which is which. One layer, the control, cannot do it.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from interp.commands.printed import random_controls
from interp.commands.shared import Debug, end_politely, gigabytes, print_table, register, stdout

MODEL, CONTROL, TASK = "garden/induction-2l", "garden/induction-1l", "induction"
N, SEED, DRAWS = 192, 0, 200
ROLE_AT = 0.2
"""Share of a head's attention from which on it is called by its role; an unfocused head has about 0.05."""


def demo(model: str = MODEL, control: str = CONTROL, out: Path = Path("demo-report")) -> dict[str, Any]:
    """Discover, evaluate, say what the heads are, and write the run folder. Returns the facts that are printed."""
    from interp.commands.opened import model_hash
    from interp.discovery import discover, evaluate
    from interp.discovery.report import sections
    from interp.garden.loading import load
    from interp.results import Run
    from interp.results.environment import peak_memory
    from interp.tasks import task

    _clear(out)
    hooked, weaker = load(model), load(control)
    prompts = task(TASK, model=hooked, n=N, seed=SEED)
    audit = prompts.audit(hooked)
    config = {"model": model, "task": TASK, "n": N, "method": "ablation", "draws": DRAWS, "control": control}
    with Run.create(out, "demo", config, SEED) as run:
        run.set_model(model_hash(hooked))
        with run.timed("discover"):
            circuit = discover(hooked, prompts, "ablation", seed=SEED)
        circuit.save(run)
        with run.timed("evaluate"):
            found = evaluate(hooked, circuit, prompts, draws=DRAWS, seed=SEED)
        found.save(run)
        heads = head_table(hooked, circuit)
        run.save_table("heads", heads)
        alike = stand_ins(hooked, prompts, circuit, heads)
        run.save_table("induction_heads_together", alike)
        facts = {
            "stand_ins": alike, "circuit": circuit, "evaluation": found, "heads": heads, "named": named(heads),
            "accuracy": _value(audit, "accuracy"), "control_model": weaker.name,
            "control": _value(task(TASK, model=weaker, n=N, seed=SEED).audit(weaker), "accuracy"),
        }
        run.record(nodes=len(circuit.nodes), faithfulness=found.faithfulness, accuracy=facts["accuracy"],
                   control_accuracy=facts["control"], roles=facts["named"])
        run.save_report(f"The induction circuit of {circuit.model}", [
            _in_short(facts), _together(alike), *sections(found, audit.frame())])
    facts |= {"run": run, "seconds": run.info["timings"]["total"], "memory": peak_memory()["ram_bytes"]}
    return facts


def head_table(model: Any, circuit: Any) -> pd.DataFrame:
    """One row a head, strongest effect first: its effect, its two attention scores, its role, and if it is a member.

    `previous_token` is its mean attention to the token before, `prefix_matching` from a repeated token to the one
    behind the earlier occurrence; both on the recipe's held-out sequences, 0 to 1.
    """
    from interp.garden.recipes.induction_2l import heads

    scores = heads(model)
    rows = []
    for node in circuit.frame(candidates=True).itertuples():
        if node.kind != "attn.hook_z":
            continue
        before = scores["previous_token"][node.depth][node.head]
        match = scores["prefix_matching"][node.depth][node.head]
        rows.append({"head": node.label, "effect": node.score, "previous_token": before, "prefix_matching": match,
                     "role": _role(before, match), "in_the_circuit": bool(node.member)})
    return pd.DataFrame(rows)


def stand_ins(model: Any, task: Any, circuit: Any, heads: pd.DataFrame) -> pd.DataFrame:
    """The heads that look behind the earlier occurrence, removed alone and together, on the test prompts.

    Columns as of `grouped_removal`: the loss together, its interval, and the sum of the single losses, which is smaller
    where heads stand in for each other.
    """
    from interp.discovery.checks import grouped_removal
    from interp.discovery.runs import Circuits
    from interp.results import Node

    labels = heads.loc[heads["role"] == "induction", "head"]
    nodes = [Node.from_label(label) for label in labels]
    part = task.part("test")
    return grouped_removal(Circuits(model, part, list(circuit.scores)), nodes, part)


def _role(before: float, match: float) -> str:
    if max(before, match) < ROLE_AT:
        return ""
    return "previous token" if before > match else "induction"


def named(heads: pd.DataFrame) -> dict[str, list[str]]:
    """The members of the circuit by their role."""
    members = heads[heads["in_the_circuit"]]
    return {role: members.loc[members["role"] == role, "head"].tolist() for role in ("previous token", "induction")}


def sentences(facts: dict[str, Any]) -> list[str]:
    """What was found, in words; every one follows from the numbers."""
    heads = facts["heads"].set_index("head")
    said = []
    for role, column, does in (("previous token", "previous_token", "look at the token before"),
                               ("induction", "prefix_matching", "look behind the earlier occurrence")):
        there = facts["named"][role]
        listed = ", ".join(f"{head} ({heads.loc[head, column]:.2f} of its attention)" for head in there)
        said.append(f"{role.capitalize()} heads, which {does}: {listed or 'none above ' + str(ROLE_AT)}")
    said.append(f"{facts['circuit'].model} is right on {facts['accuracy']}")
    said.append(f"{facts['control_model']}, one layer, the control, is right on {facts['control']}")
    return said


def _in_short(facts: dict[str, Any]) -> Any:
    from interp.results.report import Section

    return Section(
        "In short", "\n\n".join(f"{text}." for text in sentences(facts)), facts["heads"],
        note="Effects are causal: what is lost when a head is put at its value on the counterfactual prompts. "
        f"Attention scores are read from patterns and are no evidence of use. A role is given from {ROLE_AT} on.",
    )


def _together(table: pd.DataFrame) -> Any:
    from interp.results.report import Section

    last = table.iloc[-1] if len(table) else None
    text = "No head has this role." if last is None else (
        f"Removed together they take away {last['together']:.3g} [{last['low']:.3g}, {last['high']:.3g}]; the sum of "
        f"their single removals is {last['sum_of_singles']:.3g}."
    )
    return Section(
        "Induction heads together", text, table,
        note="Where the first is larger, heads stand in for each other, and a single removal shows too little.",
    )


def _value(audit: Any, name: str) -> Any:
    return next((check.value for check in audit.checks if check.name == name), None)


def _clear(out: Path) -> None:
    """Make room for this demo's folder where an earlier demo wrote; anything else there stays, and is an error."""
    from interp.results import BadFile, Run

    try:
        there = Run.open(out)
    except BadFile:
        return  # Run.create says what is wrong with the folder
    if there.command == "demo" and there.status != "running":
        shutil.rmtree(out)


def show(facts: dict[str, Any]) -> None:
    """Print what `demo` found."""
    found, out = facts["evaluation"], stdout()
    out.print(f"[bold]The circuit of {facts['circuit'].model} on {TASK}[/]: {len(facts['circuit'].nodes)} of "
              f"{len(facts['circuit'].scores)} heads, every one scored exactly")
    print_table(facts["heads"].rename(columns={"effect": f"effect ({found.unit})"}))
    out.print()
    for text in sentences(facts):
        out.print(f"  {text}", markup=False, soft_wrap=True)
    out.print()
    print_table(found.frame().drop(columns="note"), "on prompts used neither for scores nor for the size")
    out.print(random_controls(found), soft_wrap=True)
    out.print()
    print_table(facts["stand_ins"], "induction heads, 1, 2 ... removed together")
    out.print()
    out.print(f"{facts['seconds']:.1f} s, {gigabytes(facts['memory'])} of memory at most; report: "
              f"{facts['run'].path / 'report.html'}", soft_wrap=True)


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the report.", metavar="[DIR]")] = Path("demo-report"),
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="A model of repeated sequences.")] = MODEL,
    control: Annotated[str, typer.Option("--control", metavar="MODEL", help="One that is too small for it.")] = CONTROL,
    debug: Debug = False,
) -> None:
    """Find the induction circuit of a small model, test it, name its heads, and write one offline report."""
    show(demo(model, control, out))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    register(app, main, "The demo.", "python -m interp.demo")
    with end_politely():
        app()
