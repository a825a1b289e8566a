"""The numbers of `make demo` and of the induction circuit edge by edge, kept as a record. Some 30 CPU seconds.

Run: python -m benchmarks.induction
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import interp
from benchmarks.cells import finite
from benchmarks.record import conditions, write
from interp.demo import CONTROL, MODEL, SEED, N, demo


def main() -> None:
    """Both circuits."""
    before = conditions()
    with TemporaryDirectory() as folder:
        facts = demo(out=Path(folder) / "demo")
    accuracies = {"accuracy": facts["accuracy"].to_dict(), "accuracy of the control": facts["control"].to_dict()}
    shown = {"title": "make demo", "model": MODEL, "control": CONTROL, "prompts": N, "seed": SEED,
             "nodes": [str(node) for node in facts["circuit"].nodes]} | accuracies
    model = interp.load(MODEL)
    task = interp.task("induction", model=model, n=96, seed=SEED)
    circuit = interp.discover(model, task, level="edges", seed=SEED)
    tangent = interp.discover(model, task, "tangent", level="edges", seed=SEED)
    edges = {"title": "interp discover induction --model garden/induction-2l --edges", "edges": len(circuit.edges),
             "exact": circuit.edge_frame().to_dict("records"),
             "tangent": tangent.edge_frame(candidates=True).to_dict("records")}
    tables = [
        shown | {"held out": facts["evaluation"].frame().to_dict("records")},
        edges | {"held out": interp.evaluate(model, circuit, task, seed=SEED).frame().to_dict("records")},
    ]
    print(write("induction", before, finite(tables)))


if __name__ == "__main__":
    main()
