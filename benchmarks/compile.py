"""Compiling the library: CPU seconds a program, sizes, and how fast all inputs are verified. `--quick`: length 3.

Beside it what Tracr took for the same programs (jax 0.10, this kind of machine, length 5, vocabulary as here): a cold
compile of sort_unique 2.6 CPU s, shuffle_dyck 3 s; the others were timed warm, below 0.1 s.
"""

import argparse
import time

import torch

from benchmarks.timing import show_rows
from interp.programs.compile import compile
from interp.programs.rasp import names

TRACR = {"sort_unique": "2.6 (cold)", "shuffle_dyck": "3", "hist": "<0.1 (warm)", "length": "<0.1 (warm)"}
"""CPU seconds of the reference's compiler, where they were measured."""
TRACR_SIZES = {
    "length": "1 / 12", "hist": "1 / 12", "count": "1 / 12", "shift": "1 / 1", "frac_prevs": "2 / 1",
    "sort_unique": "2 / 12", "count_less_freq": "2 / 12", "detect": "2 / 4", "pair_balance": "2 / 4", "sort": "3 / 20",
    "reverse": "4 / 30", "sort_freq": "5 / 30", "shuffle_dyck": "8 / 212",
}
"""Layers / units of every MLP of the reference, which pads all layers to the widest."""


def main() -> None:
    """Show one row a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compile", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="length 3")
    length = 3 if parser.parse_args().quick else 5
    torch.set_num_threads(1)
    lines = []
    for name in names():
        start = time.process_time()
        compiled = compile(name, length=length)
        made = time.process_time()
        check = compiled.verify()
        done = time.process_time()
        sizes = compiled.parts.module.sizes
        lines.append({
            "program": name, "compile_s": round(made - start, 3), "tracr_s": TRACR.get(name, ""),
            "depths_units": f"{len(sizes.heads)} / {sum(sizes.units)}", "tracr_sizes": TRACR_SIZES.get(name, ""),
            "non_zero": sum(int(p.count_nonzero()) for p in compiled.model.parameters()), "inputs": check.inputs,
            "verified_per_s": round(check.inputs / (done - made)), "wrong": check.wrong,
            "margin": round(min(check.margins.values()), 6),
        })
    show_rows(f"compile at length {length}: CPU seconds, one thread", lines)


if __name__ == "__main__":
    main()
