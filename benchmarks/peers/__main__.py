"""`python -m benchmarks.peers`: interp against TransformerLens and nnsight, each pair in one process.

Environments are made once under the user's cache folder (`--cache` for another) and reused. Tables go to the screen
and, with the date, to benchmarks/results/peers.json. A peer that cannot be installed or fails is reported with its
reason, and the exit status says how many there were.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.environments import PINS, PROJECT, CannotInstall, python_for
from benchmarks.record import RESULTS, conditions, write


def measure(peer: str, cache: Path | None) -> dict:
    """Tables and versions of one peer, or {"reason"}: why there are none."""
    print(f"== {PINS[peer]}", flush=True)
    before = conditions()
    try:
        python = python_for(peer, cache)
    except CannotInstall as error:
        return {"date": before["date"], "reason": f"cannot be installed: {error}"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tables.json"
        command = [str(python), "-m", "benchmarks.peers.measure", peer, str(out)]
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1",
                 "TRANSFORMERS_VERBOSITY": "error"}
        status = subprocess.run(command, cwd=PROJECT, env=os.environ | quiet).returncode
        if status:
            return {"date": before["date"], "reason": f"its measurement stopped with status {status}; see its output"}
        found = json.loads(out.read_text())
    return before | found | {"load_after": conditions()["load"]}


def main() -> int:
    """Measure all peers or one; returns how many could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PINS, help="measure this one")
    parser.add_argument("--cache", type=Path, help="where environments are made (default: the user's cache)")
    arguments = parser.parse_args()
    path = RESULTS / "peers.json"
    peers = json.loads(path.read_text())["peers"] if path.exists() else {}
    chosen = [arguments.only] if arguments.only else list(PINS)
    before = conditions()
    for peer in chosen:
        peers[PINS[peer]] = measure(peer, arguments.cache)
    write("peers", before, [], peers=peers)
    missing = {name: peers[name]["reason"] for name in map(PINS.get, chosen) if "reason" in peers[name]}
    for name, reason in missing.items():
        print(f"{name}: not measured, {reason}", file=sys.stderr)
    print(f"wrote {os.path.relpath(path)}")
    return len(missing)


if __name__ == "__main__":
    sys.exit(main())
