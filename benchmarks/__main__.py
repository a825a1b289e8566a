"""`python -m benchmarks`: the cost benchmarks one after another, each in a process of its own.

`--only NAME` runs one, `--list` says what there is. Tables go to the screen and to benchmarks/results/NAME.json.
`python -m benchmarks.peers`, `benchmarks.meaning`, `benchmarks.tokfsm`, `.tokfsm_paper`, `.codebook_text`,
`.codebook_architectures`, `.depth_models` and others that measure models take long, and run by their own commands.
"""

import argparse
import importlib
import os
import subprocess
import sys
from unittest.mock import patch

from benchmarks.record import conditions, write
from benchmarks.timing import recording

COSTS = {
    "hooks_cost": "forwards without hooks, with 12 sites, with everything; import",
    "effects_cost": "all heads of a GPT-2-small shape on one metric, by rule set",
    "edges": "edges of a GPT-2-small shape: EAP, EAP-IG, paths, circuits, in forwards and backwards",
    "growth": "cost and memory of discovery as layers, heads, positions or prompts double",
    "depth": "profile, lens and the skip matrix of SmolLM2, in forwards",
    "decomposed_cost": "decomposed sources against plain forwards",
    "programs": "training steps and programs per second, against the reference's figures",
    "compile": "compiling and checking library programs",
    "codebook": "codebook look-ups against a product, scikit-learn, faiss; a training step with books",
    "architectures": "forward of every entry of the catalog against its parent, at equal size",
    "memory": "peak memory of caching everything or the stream only",
}


def run(name: str) -> None:
    """Run one benchmark here and record its tables."""
    module = importlib.import_module(f"benchmarks.{name}")
    before = conditions()
    with recording() as tables, patch.object(sys, "argv", [name]):  # the benchmarks read options of their own
        module.main()
    path = write(name, before, tables)
    print(f"load {before['load'][0]} before, {os.getloadavg()[0]:.2f} after; wrote {os.path.relpath(path)}")


def main() -> int:
    """Run all or one; returns the number of benchmarks that failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=COSTS, help="run this one")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(f"{name:16} {what}" for name, what in COSTS.items()))
        return 0
    if arguments.only:
        run(arguments.only)
        return 0
    failed = 0
    for name in COSTS:
        print(f"== {name}: {COSTS[name]}", flush=True)
        failed += subprocess.run([sys.executable, "-m", "benchmarks", "--only", name]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
