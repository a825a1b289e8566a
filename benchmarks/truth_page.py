"""docs/truth.md from the record of `benchmarks.truth`: tables as they were measured, numbers of the text looked up."""

from benchmarks.truth_tables import TRAPS, markdown
from interp.programs.compile.suite import TRAPS as SETUPS

HEAD = """# Ground truth

Methods of circuit discovery, scored against circuits that are known because they were compiled. This page is written by
`python -m benchmarks.truth --page`, which looks every number up in `benchmarks/results/truth.json`.

## What was stated beforehand

- **The statistic.** AUPRC (average precision, steps, ties at one threshold) of the size of a method's scores for the
  nodes of one compiled model; its mean over the cases; a 95 % interval from a cluster bootstrap over the *programs*
  that cases were made from. AUROC is the full sweep from (0, 0) to (1, 1). Precision at size is that of as many nodes
  as the truth has. For edges the same, over all edges of `interp.discovery.graph`.
- **The truth is the compiler's graph**, whatever any intervention says of it. A head or an MLP is positive where the
  program's output needs a variable that it computes; an edge where its target reads, in that role, such a variable of
  its source.
- **Idle nodes are apart.** A node none of whose variables differs between any clean and corrupt sequence, by the
  program's own values, can be told from nothing by data like these. It counts neither as positive nor as negative; the
  table of cases says how many there are. Positions are the same in clean and corrupt, so all their edges are idle.
- **Oracles are not ranked.** `ablation`, `auto` within its budget and `path-patching` are the intervention by which the
  compiler checks that its negatives do nothing. What they miss is still news; that they find no negatives is not.
- **What is asked of `auto`**: AUPRC of at least 0.95 overall, and of at least 0.9 on the cases of OR and of backups.

Changed after first scores had been seen, on the cases of the same seed: more distractors (with the first two a case,
random scores had 0.70), cases whose prompts are all of one length are drawn again, and silent members (below) are
counted. `auto` looked both ways from the first.
"""

CASES = """## The cases

`interp.programs.compile.suite`: {n} cases from seed {seed}, in turn one of eight hard cases, in each of six streams
(no norm, LayerNorm, RMSNorm; rotated or not). About half are made from the library, half from random programs of two or
three steps. Beside the program every model computes random others that have no part in its output and are as active:
these are the negatives, "readers" where they read a variable that the program computes. {prompts} prompts each, half
of them to score on; a corrupt sequence is at least as long as its clean one, so that paths through the length vary.

{traps}

{counts}
"""


BY_TRAP = "Nodes: AUPRC by hard case"
BY_STREAM, EDGE_TRAP = "Nodes: AUPRC by stream", "Edges: AUPRC by hard case"
ITERATED = "One pass of cdt and the iterated search"
SHARED = "Edges, on the cases that all methods were run on"
HOW = """## To run it

```
python -m benchmarks.truth [--n 200] [--seed 0] [--resume]
python -m benchmarks.truth --page
```

Interchange interventions on every compiled variable, which say that the models hold what the compiler claims, are
`interp.programs.compile.iia.interchanges(compiled)`: accuracy 1 on every variable (tests/programs/compile/test_iia.py).
"""


def page(record: dict) -> str:
    """The page. Raises: KeyError for a record that lacks one of the tables."""
    tables = {table["title"]: table["rows"] for table in record["tables"]}

    def cell(title: str, method: str, column: str) -> str:
        return next(line[column] for line in tables[title] if line["method"] == method)

    def value(title: str, method: str, column: str) -> float:
        return float(cell(title, method, column).split()[0])

    parts = [HEAD, _cases(record, tables), _nodes(record, tables, cell, value), _silent(tables), _iterated(tables),
             _edges(record, tables, cell), _cost(record, tables), HOW]
    return "\n".join(part.strip() + "\n" for part in parts)


def _cases(record: dict, tables: dict) -> str:
    traps = "\n".join(f"- **{name}**: {' '.join(str(SETUPS[name].__doc__).split())}" for name in TRAPS)
    return CASES.format(n=record["n"], seed=record["seed"], prompts=record["prompts"], traps=traps,
                        counts=markdown(tables["Cases"]))


def _nodes(record: dict, tables: dict, cell, value) -> str:
    goals = [("overall", "Nodes", "AUPRC", 0.95), ("on OR", BY_TRAP, "or", 0.9), ("on backups", BY_TRAP, "backup", 0.9)]
    met = "\n".join(
        f"- {name}: {cell(title, 'auto', column)}, asked {goal}: "
        + ("met" if value(title, "auto", column) >= goal else "**not met**") for name, title, column, goal in goals)
    best = _first(tables["Nodes"])
    return f"""## Nodes

{markdown(tables["Nodes"])}

`auto` against what was asked of it:

{met}

{markdown(tables[BY_TRAP])}

- **One direction is not enough.** Removing one node at a time (`ablation`) hides the two sides of OR and both routes of
  a backup: {cell(BY_TRAP, "ablation", "or")} and {cell(BY_TRAP, "ablation", "backup")}. `auto` also restores every
  node alone and keeps the larger effect: {cell(BY_TRAP, "auto", "or")} and {cell(BY_TRAP, "auto", "backup")}. It takes
  twice the forwards.
- **The best method that is no oracle** is `{best}`, {cell("Nodes", best, "AUPRC")}.
- **Gradients.** `tangent` has {cell("Nodes", "tangent", "AUPRC")}, `integrated`
  {cell("Nodes", "integrated", "AUPRC")}, a gradient without the change {cell("Nodes", "gradient-norm", "AUPRC")},
  random scores {cell("Nodes", "random", "AUPRC")}. In an exact model softmax and tables are flat around every value, so
  that much of the circuit has a gradient of zero.
- **Above its budget `auto` is no oracle.** With a budget of half the nodes it comes to
  {cell("Nodes", "auto, half budget", "AUPRC")}: what no linear rule set sees, no shortlist holds. It states a bound on
  what that may be; the ranking cannot know more.
- **`direct`** sees the last writers alone, by definition: {cell("Nodes", "direct", "AUPRC")}. It does better in rotated
  streams, {cell(BY_STREAM, "direct", "rotated")} against {cell(BY_STREAM, "direct", "not rotated")}. The likely reason,
  not tested further, is rounding: every writer leaves a trace there where it is exactly zero otherwise.
- **The iterated search** is no better than one pass over all cases, {cell("Nodes", "cdt-iterated", "AUPRC")} against
  {cell("Nodes", "cdt", "AUPRC")}; it takes one node a round here, in four rounds. Where all runs through queries and
  keys it is far better (below).

By stream, and by class of the negatives (AUROC against one class is the chance that a member ranks above one of it):

{markdown(tables[BY_STREAM])}

{markdown(tables["Nodes: by class of the negatives, by kind of program"])}"""


def _silent(tables: dict) -> str:
    return f"""## What `auto` misses

A member is *silent* where exchanging its variables alone, either way, never changes the program's own answer on the
prompts at hand: a table that reads a variable and needs it for inputs that do not occur, or a cancelling pair upstream.
This asks the program, not the model, and was asked after first scores had been seen, to explain them. Silent members
stay in the truth, and no method of single exchanges can find them.

{markdown(tables["Silent members"])}"""


def _iterated(tables: dict) -> str:
    return f"""## One pass of contextual decomposition, and the paper's search

`reverse` and `sort_unique` move tokens by queries and keys; beside random distractors, over draws of these and of the
prompts. One pass of `cdt` sees what acts through values alone.

{markdown(tables[ITERATED])}"""


def _edges(record: dict, tables: dict, cell) -> str:
    return f"""## Edges

On {record["edge_prompts"]} prompts a case. Methods that cut edges one by one take long: they were run on the cases
that have {record["most_edges"]} edges or fewer. The first table says on how many, the second has these cases alone.

{markdown(tables["Edges"])}

{markdown(tables[SHARED])}

- Edges are far harder than nodes, chance being {cell("Edges", "random", "AUPRC")}: the best linear rule set,
  `integrated`, has {cell("Edges", "integrated", "AUPRC")}, `tangent` {cell("Edges", "tangent", "AUPRC")}.
- Cutting one edge at a time hides OR and backups as removing one node does: {cell(EDGE_TRAP, "path-patching", "or")}
  and {cell(EDGE_TRAP, "path-patching", "backup")}. Both directions bring most of them back:
  {cell(EDGE_TRAP, "auto", "or")} and {cell(EDGE_TRAP, "auto", "backup")}.
- `auto` stays below what is asked of it at nodes, {cell(SHARED, "auto", "AUPRC")}. Which of its misses are silent was
  not measured at edges. On cases without redundancy it is at most as good as cutting alone
  ({cell(EDGE_TRAP, "auto", "duplicate")} against {cell(EDGE_TRAP, "path-patching", "duplicate")} on duplicates).

{markdown(tables[EDGE_TRAP])}

{markdown(tables["Edges: AUPRC by stream"])}"""


def _cost(record: dict, tables: dict) -> str:
    return f"""## Cost

{record["scoring_cpu_seconds"]} CPU seconds of scoring on one thread, compiling the cases not counted
({record["date"][:10]}, load {record["load"][0]} to {record["load_after"][0]} of other work).

{markdown(tables["Seconds"])}"""


def _first(table: list[dict]) -> str:
    """The method of rank 1."""
    return next(line["method"] for line in table if line["rank"] == 1)
