"""`interp programs`: train a model that becomes a program, read and run it, compile a program into a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.commands.shared import (
    Debug,
    Json,
    Keep,
    Out,
    Seed,
    going_on,
    note,
    print_json,
    print_table,
    register,
    stdout,
)

if TYPE_CHECKING:
    from interp.programs import Compiled, Program
    from interp.results import Estimate

app = typer.Typer(
    help="Train a model that becomes a Python program, read and run it; compile a program into a model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="\b\nStart with:\n  interp programs list\n  interp programs show sort\n  interp programs run \"3 1 2\"",
)

Which = Annotated[
    str,
    typer.Argument(
        metavar="PROGRAM", help="A shipped program (sort, hist ...), a folder of `train`, or a program.json."
    ),
]


def add_to(parent: typer.Typer) -> None:
    """Register the group."""
    register(app, train, "Train a model and turn it into a program.", "interp programs train hist --out runs/my-hist")
    register(app, show, "Print a program: its variables, or its Python file.",
             "interp programs show sort --python > sort.py", "interp programs show hist --graph hist.html")
    register(app, run, "Run a program on a sequence, and explain an answer.",
             'interp programs run "3 1 2"', 'interp programs run "3 1 2" --program sort --explain 0')
    register(app, compile, "Compile a program into a model whose circuit is known.",
             "interp programs compile reverse",
             'interp programs compile hist --vocab abcd --length 5 --run "a b a c"',
             "interp programs compile runs/my-hist --out runs/hist-weights")
    register(app, list_, "List the tasks, the trained programs and the library.", "interp programs list")
    parent.add_typer(app, name="programs", short_help="Models that become programs, and back.")


def train(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="hist, sort, reverse ... `interp programs list` has all.")
    ],
    out: Out = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, show_default=False, help="Instead of the recipe's.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", show_default=False,
                     help="Another setting of the recipe, such as n_layers=2; repeat for more."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a Transformer Program (arXiv 2306.01128): attention by predicates, MLPs as look-up tables.

    The folder gets the program (program.json), the model and what it reaches on sequences that it was not trained on.
    The program is compared with the model on all of these. A training that was stopped goes on when the same command
    is given again.
    """
    from interp.commands.opened import RUNS
    from interp.programs.train import train as make
    from interp.programs.trained_files import METRICS, save_trained
    from interp.results.errors import BadInput

    folder = out or RUNS / f"program-{task}-seed{seed}"
    if (folder / METRICS).exists():
        raise BadInput(f"{folder} holds a trained program already: choose another folder with --out")
    with going_on():
        trained = make(task, seed=seed, out=folder, **_changes(change or [], steps))
    differ = trained.disagreements()
    save_trained(trained, folder)
    if as_json:
        print_json(trained.record() | {"folder": str(folder), "program_differs_from_model": differ})
        return
    stdout().print(f"[bold]{task}[/], seed {seed}, {trained.config.steps} steps")
    for name, score in trained.scores.items():
        stdout().print(f"  {name}: {score}", markup=False, soft_wrap=True)
    stdout().print(f"  program and model answer differently on {differ} of {len(trained.data.test)} held-out sequences")
    stdout().print(f"written to {folder}; read it with: interp programs show {folder}", soft_wrap=True)


def _changes(given: list[str], steps: int | None) -> dict[str, Any]:
    """`n_layers=2` as {"n_layers": 2}: numbers, true and false as in JSON."""
    import json

    from interp.results.errors import BadInput

    found: dict[str, Any] = {} if steps is None else {"steps": steps}
    for text in given:
        name, equals, value = text.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError:
            equals = ""
        if not equals or isinstance(found[name], str | list | dict | None):
            raise BadInput(f"--set {text}: give a name and a number, such as --set n_layers=2")
    return found


def show(
    program: Which = "sort",
    python: Annotated[bool, typer.Option("--python", help="Print the Python file instead, and nothing else.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Do not prune what no input can reach.")] = False,
    decimals: Annotated[
        int | None,
        typer.Option("--round", metavar="N", min=0, max=9, show_default=False,
                     help="Scores as whole numbers, times 10^N: easier to read; a close answer may change."),
    ] = None,
    graph: Annotated[
        Path | None, typer.Option("--graph", metavar="FILE", show_default=False, help="Draw what reads what (HTML).")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print a program: what it was trained for, how well it does, and every variable with what it reads.

    With --python, the whole program as one file of the standard library that runs anywhere: python FILE "3 1 2".
    """
    from interp.garden.shipped_programs import open_program, scores_of
    from interp.programs import graph_figure, rounded
    from interp.results.files import atomic_write

    given = open_program(program)
    shown = given if full else given.prune(framed=True)
    shown = shown if decimals is None else rounded(shown, decimals)
    if graph is not None:
        atomic_write(graph, graph_figure(shown).to_html(include_plotlyjs=True))
        note(f"written to {graph}")
    if python:
        print(shown.to_python(), end="")
        return
    _print_program(given, shown, scores_of(program), as_json)


def _print_program(given: "Program", shown: "Program", scores: "dict[str, Estimate]", as_json: bool) -> None:
    import pandas as pd

    from interp.programs.graph import roles
    from interp.programs.program import Operator
    from interp.programs.prune import size

    rows = [
        {"variable": step.out.name, "kind": type(step).__name__, "values": step.out.size,
         "reads": ", ".join(f"{role} {name}" for role, name in roles(step)) if isinstance(step, Operator) else "",
         "scored": step.out.name in shown.readout}
        for step in shown.steps
    ]
    whole, left = size(given), size(shown)
    facts = {"name": given.name, "vocab": list(given.vocab), "labels": list(given.labels), "positions": given.n_ctx,
             "causal": given.causal, "lines": left.lines, "lines_unpruned": whole.lines, "entries": left.entries,
             "entries_unpruned": whole.entries}
    if as_json:
        print_json(facts | {"scores": scores, "variables": rows, "provenance": given.provenance})
        return
    stdout().print(f"[bold]{given.name}[/]: {len(given.vocab)} words to {len(given.labels)} labels at up to "
                   f"{given.n_ctx} positions{', causal' if given.causal else ''}", soft_wrap=True)
    stdout().print(f"  {left.variables} variables, {left.entries} table entries, {left.lines} lines of Python "
                   f"({whole.variables}, {whole.entries}, {whole.lines} before pruning)", highlight=False)
    if "seed" in given.provenance:
        stdout().print(f"  trained with seed {given.provenance['seed']}")
    for name, score in scores.items():
        stdout().print(f"  {name} on held-out sequences: {score}", markup=False, soft_wrap=True)
    print_table(pd.DataFrame(rows), rows=80)
    stdout().print("the Python file: --python; run it: interp programs run TOKENS --program " + given.name)


def run(
    tokens: Annotated[str, typer.Argument(metavar="TOKENS", help='The sequence, words apart by blanks: "3 1 2".')],
    program: Annotated[
        str,
        typer.Option("--program", "-p", metavar="PROGRAM",
                     help="A shipped program, a folder of `train`, or a program.json."),
    ] = "sort",
    why: Annotated[
        int | None,
        typer.Option("--explain", metavar="POS", min=0, show_default=False,
                     help="Say why the answer at this position (from 0) is what it is; 0 where there is one answer."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a program on a sequence. Nothing in the file is executed: a program is tables, and they are looked up."""
    from interp.garden.shipped_programs import open_program
    from interp.programs.debug import explain

    opened = open_program(program)
    words = _words(opened, tokens)
    answers = opened.run(words)
    # pruned, so that nothing is told that no input can reach
    reason = None if why is None else explain(opened.prune(framed=True), words, None if opened.pooled else why)
    if as_json:
        print_json({"program": opened.name, "tokens": words, "answers": answers,
                    "explanation": None if reason is None else str(reason)})
        return
    print(" ".join(answers))
    if reason is not None:
        print(reason)


def _words(program: "Program", text: str) -> list[str]:
    """The typed words. Raises BadInput for none, and for words of one letter each that stand together."""
    from interp.results.errors import BadInput

    words, known = text.split(), set(program.vocab)
    if not words or (len(words) == 1 and words[0] not in known and set(words[0]) <= known):
        example = " ".join(words[0] if words else program.vocab[-3:])
        raise BadInput(f"{text!r} is no sequence of words that {program.name} knows; separate them by blanks, such as "
                       f"{example!r}")
    return words


def compile(
    program: Annotated[
        str,
        typer.Argument(metavar="PROGRAM", help="hist, reverse ... of the library, or a trained program to turn back."),
    ],
    vocab: Annotated[
        str | None,
        typer.Option("--vocab", metavar="WORDS", show_default=False,
                     help="Letters (abcd), or words apart by blanks; by default those that suit the program."),
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", min=1, show_default=False, help="Longest input (default 5).")
    ] = None,
    causal: Annotated[bool, typer.Option("--causal", help="Queries look left only.")] = False,
    norm: Annotated[
        str | None, typer.Option("--norm", metavar="NAME", show_default=False, help="layernorm or rmsnorm.")
    ] = None,
    rotate: Annotated[
        int | None,
        typer.Option("--rotate", metavar="SEED", show_default=False, help="Rotate the stream at random."),
    ] = None,
    compress: Annotated[
        int | None,
        typer.Option("--compress", metavar="D", min=1, show_default=False, help="Squeeze the variables into D dims."),
    ] = None,
    distractor: Annotated[
        list[str] | None,
        typer.Option("--distractor", metavar="NAME", show_default=False,
                     help="A program of the library to compute beside it; repeat for more."),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--run", metavar="TOKENS", show_default=False, help="Run the model on a sequence.")
    ] = None,
    out: Keep = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compile a RASP program into the weights of a transformer (arXiv 2301.05062), check it, say where everything is.

    The model is compared with the program on all inputs where they are few, else on random ones and the extremes.
    Its circuit is known: which heads and MLPs it takes, what each reads, and which play no part.
    """
    from interp.programs import compile as make

    given: Any = program
    words = None if vocab is None else (vocab.split() if " " in vocab else list(vocab))
    if not _in_library(program):
        given, words, length, causal, name = _from_trained(program)
    else:
        name = None
    options = {} if words is None else {"vocab": words}
    made = make(given, length=length or 5, causal=causal, norm=norm, rotate=rotate, compress=compress,
                distractors=tuple(distractor or ()), seed=seed, name=name, **options)
    answers = None if tokens is None else made.run(_tokens(made, tokens))
    if out is not None:
        made.save(out)
    _print_compiled(made, answers, out, as_json)


def _in_library(name: str) -> bool:
    from interp.programs.rasp import names

    return name in names()


def _from_trained(name: str) -> tuple[Any, list[str], int, bool, str]:
    """(expression, words, length, causal, name) of a trained program."""
    from interp.garden.shipped_programs import open_program, program_names
    from interp.programs.rasp import names
    from interp.results.errors import ModelMissing, nearest

    if not Path(name).exists() and name not in program_names():
        known = [*names(), *program_names()]
        raise ModelMissing(f"no program {name!r}.{nearest(name, known)} The library has: {', '.join(names())}")
    program = open_program(name)
    return program.to_rasp(), list(program.vocab), program.n_ctx, program.causal, program.name


def _tokens(made: "Compiled", text: str) -> list[Any]:
    """The typed words as tokens of the vocabulary, which may be numbers."""
    known = {str(value): value for value in made.graph.vocab}
    return [known.get(word, word) for word in text.split()]


def _print_compiled(made: "Compiled", answers: list | None, out: Path | None, as_json: bool) -> None:
    sizes, check = made.parts.module.sizes, made.check
    facts = {
        "name": made.name, "vocab": list(made.graph.vocab), "length": made.graph.length, "d_model": sizes.d_model,
        "depths": len(sizes.heads), "heads": list(sizes.heads), "mlp_units": list(sizes.units),
        "checked_inputs": check.inputs, "wrong": check.wrong, "margin": made.margin, "floor": made.floor,
        "circuit": [node.name for node in made.truth.nodes], "edges": [edge.name for edge in made.truth.edges],
        "no_part": [node.name for node in made.negatives], "answers": answers, "folder": out and str(out),
    }
    if as_json:
        print_json(facts)
        return
    stdout().print(f"[bold]{made.name}[/] on up to {made.graph.length} of {', '.join(map(str, made.graph.vocab))}: "
                   f"{len(sizes.heads)} depths, {sum(sizes.heads)} heads, {sum(sizes.units)} MLP units, "
                   f"{sizes.d_model} wide", soft_wrap=True)
    floor = f"effects up to {made.floor:.2g} are no evidence" if made.floor else "what plays no part has no effect"
    stdout().print(f"  model and program differ on {check.wrong} of {check.inputs} inputs; smallest margin "
                   f"{made.margin:.4g} of 1; {floor}", soft_wrap=True)
    stdout().print(f"  circuit: {', '.join(node.label for node in made.truth.nodes)}", soft_wrap=True)
    if made.negatives:
        stdout().print(f"  no part: {', '.join(node.label for node in made.negatives)}", soft_wrap=True)
    print_table(made.frame())
    if answers is not None:
        print("answers:", *answers)
    if out is not None:
        stdout().print(f"written to {out}", soft_wrap=True)


def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List what can be trained, what is trained and shipped, and what can be compiled."""
    import pandas as pd

    from interp.garden.shipped_programs import program_names
    from interp.programs.rasp.library import LIBRARY
    from interp.tasks.sequences import help_lines

    shipped = program_names()
    tasks = [{"task": name, "shipped": name in shipped, "what": line} for name, line in help_lines().items()]
    library = [{"program": name, "what": entry.help} for name, entry in LIBRARY.items()]
    if as_json:
        print_json({"tasks": tasks, "library": library})
        return
    print_table(pd.DataFrame(tasks), "to train (interp programs train TASK), shipped ones to show and run")
    print_table(pd.DataFrame(library), "to compile (interp programs compile PROGRAM)")
