"""What the leading heads of the stored IOI circuit do: attention between named tokens, and their direct effect.

Held-out prompts of the stored circuit's own task, SmolLM2. For each head: mean attention from the end to the indirect
object (IO), from the end to the second subject (S2), from S2 to the first subject (S1) and to the token behind it; its
direct effect on the logit difference; 95 % cluster bootstraps. Beside each, the share of all heads that reach as much.
The roles are those of Wang 2022 (2211.00593). Run: python -m benchmarks.roles
"""

import json

import numpy as np
import torch

import interp
from benchmarks.curves import FOUND
from benchmarks.record import RESULTS
from benchmarks.timing import show_rows
from interp.discovery.nodes import nodes, source
from interp.effects import effects
from interp.hooks import Counterfactual
from interp.results import Circuit, bootstrap_mean
from interp.tasks.task import ids_of

LEADING = 16
PAIRS = {"end to IO": ("end", "io"), "end to S2": ("end", "s2"), "S2 to S1": ("s2", "s1"), "S2 to S1+1": ("s2", "s1+1")}


def places(task, tokenizer) -> dict[str, torch.Tensor]:
    """Token positions [prompt] of the end, the indirect object, and both mentions of the subject."""
    ids, found = ids_of(task.clean), {name: [] for name in ("io", "s1", "s2")}
    for row, names in enumerate(task.prompts.to_dict("records")):
        words = [tokenizer.decode([int(i)]).strip() for i in ids[row]]
        first, second = (i for i, word in enumerate(words) if word == names["s"])
        found["io"].append(words.index(names["io"]))
        found["s1"].append(first)
        found["s2"].append(second)
    at = {name: torch.tensor(values) for name, values in found.items()}
    return at | {"end": task.metric.positions, "s1+1": at["s1"] + 1}


def main() -> None:
    """Print the table and keep it in benchmarks/results/roles.json."""
    stored = Circuit.load(FOUND / "ioi.json")
    model = interp.load("smollm2-135m")
    task = interp.task("ioi", model=model, n=int(stored.provenance["n"]), seed=int(stored.provenance["seed"]))
    held = task.part("test")
    at, rows = places(held, model.tokenizer), torch.arange(len(held))
    patterns = model.run_with_cache(held.clean, "blocks.*.attn.hook_pattern")[1]
    heads = [node for node in nodes(model) if node.head is not None]
    direct = effects(model, held.clean, [source(h) for h in heads], held.metric, "direct",
                     baseline=Counterfactual(held.corrupt)).values.double().numpy()
    values = {"direct effect": direct}
    for name, (query, key) in PAIRS.items():
        values[name] = np.stack([
            patterns[h.site.replace("hook_z", "hook_pattern")][rows, h.head, at[query], at[key]].double().numpy()
            for h in heads
        ])
    members = [node for node in stored.nodes if node.head is not None][:LEADING]
    lines = []
    for node in members:
        i = heads.index(node)
        line = {"head": node.label, "effect": f"{stored.scores[node]:.2f}"}
        for name, table in values.items():
            e = bootstrap_mean(table[i], held.clusters)
            as_much = float((np.abs(table.mean(1)) >= abs(e.value) - 1e-12).mean())
            line[name] = f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}] ({as_much:.3f})"
        lines.append(line)
    show_rows(f"leading heads of the IOI circuit on {len(held)} held-out prompts", lines)
    (RESULTS / "roles.json").write_text(json.dumps({"prompts": len(held), "rows": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
