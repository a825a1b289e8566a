"""Peak memory of one run over what the process held before it: a fresh process per case.

GPT-2-small shape, 4 x 128 tokens, one thread. Linux only: the kernel's own high-water mark is reset before the run.
Run: python -m benchmarks.memory
"""

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.hooks_cost import EVERYTHING, RAW, RESID_POST, gpt2, own_candidates
from benchmarks.raw_hooks import same_tensors
from benchmarks.timing import show_rows
from interp.adapters import hook

MIB = 2**20
PROCESSES = 3  # the median of these is reported


def peak_over_base(run: Callable[[], object]) -> dict[str, float]:
    """MiB at the highest point of `run` over the resident memory before it, and MiB held by what it returned.

    `run` must not have run before: what a first run frees stays with the process, and hides the second.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = run()
    return {"peak": (status("VmHWM") - before) / 1024, "kept": unique_bytes(result) / MIB}


def status(field: str) -> int:
    """One number of /proc/self/status, in KiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def unique_bytes(result: object) -> int:
    """Bytes of the storages behind every tensor in nested tuples, lists and mappings, each counted once."""
    found: dict[int, int] = {}

    def look(value: object) -> None:
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
        elif hasattr(value, "values"):
            look(list(value.values()))
        elif isinstance(value, tuple | list):
            for item in value:
                look(item)

    look(result)
    return sum(found.values())


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    model = hook(gpt2(768, 12, 50257))
    model(torch.zeros(1, 2, dtype=torch.long))  # what the first forward of a process allocates once
    x = torch.randint(0, 50257, (4, 128))
    runs = own_candidates(model, x) | {RAW: same_tensors(model.module, x)}
    runs["interp, 12 sites, stopped after the last"] = lambda: model.read(x, RESID_POST)
    return runs


NAMES = ("library model", "interp, no hooks", "interp, 12 sites cached", EVERYTHING, RAW,
         "interp, 12 sites, stopped after the last")


def in_fresh_process(name: str) -> dict[str, float]:
    """`peak_over_base` of one case in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Show one table; with a case's name as argument, measure that case and print JSON."""
    if len(sys.argv) > 1:
        torch.set_num_threads(1)
        with torch.no_grad():
            print(json.dumps(peak_over_base(cases()[sys.argv[1]])))
        return
    found = {}
    for name in NAMES:
        found[name] = sorted((in_fresh_process(name) for _ in range(PROCESSES)), key=lambda row: row["peak"])[1]
    base = found["library model"]["peak"]
    lines = [{"what": name, "peak_mib": round(row["peak"], 1), "kept_mib": round(row["kept"], 1),
              "ratio": round(row["peak"] / base, 3)} for name, row in found.items()]
    show_rows("Peak memory over the process before the run, GPT-2-small shape, 4 x 128 tokens", lines)


if __name__ == "__main__":
    main()
