"""What the depth analyses cost on SmolLM2: 8 prompts of 64 tokens of held-out text, against the model's own forward.

Goals: norms, contributions and cosines of every depth within 3 forwards' time, the lens at 8 positions of every prompt
within 3 more, the full skip matrix within L / 2 + 2. Peak memory of each over the process before it, in a process of
its own. Run: python -m benchmarks.depth
"""

import json
import subprocess
import sys
from collections.abc import Callable

import torch

from benchmarks.memory import peak_over_base
from benchmarks.record import conditions, write
from benchmarks.timing import ratios, recording, show, show_rows
from interp.depth import skip_effects
from interp.depth.collect import collect
from interp.depth.engine import BUDGET
from interp.depth.examples import examples
from interp.garden.loading import load
from interp.lens import logit_lens

FORWARD, NORMS, LENS, SKIP = ("forward", "norms, contributions, cosines", "lens, 8 positions a prompt",
                              "full skip matrix")


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by name; the first is what the others are compared with."""
    model = load("smollm2-135m")
    x = examples(model, 8, 64, seed=0).x

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return model(x)

    return {FORWARD: forward, NORMS: lambda: collect(model, x).values, LENS: lambda: logit_lens(model, x, 8).values,
            SKIP: lambda: skip_effects(model, x).mean}


def in_fresh_process(name: str) -> dict[str, float]:
    """`peak_over_base` of one case in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.depth", name], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Two tables: time and memory; with a case's name as argument, that case's memory as JSON."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print(json.dumps(peak_over_base(cases()[sys.argv[1]])))
        return
    before = conditions()
    with recording() as tables:
        runs = cases()
        runs[FORWARD]()  # what a first forward allocates
        layers = 30
        goals = {NORMS: 3.0, LENS: 3.0, SKIP: layers / 2 + 2}
        show("Depth analyses of SmolLM2-135M, 8 x 64 tokens, in forwards", ratios(runs, 1, warm=False), goals)
        lines = [{"what": name, "peak_mib": round(in_fresh_process(name)["peak"], 1), "budget_mib": BUDGET / 2**20}
                 for name in runs]
        show_rows("Peak memory over the process before it, and the budget of activations that it states", lines)
    print(write("depth", before, tables))


if __name__ == "__main__":
    main()
