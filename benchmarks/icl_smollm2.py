"""SmolLM2-135M in context: induction heads, function vectors, and Boolean functions in text ("shows" 7 of issue 7).

Statistics, fixed before any of them was seen:
    heads     induction score of the five highest heads beside that of uniform attention; what removing them (mean over
              the prompts) adds to the loss on repeats, against five random heads of the same depths, five draws
    vectors   share of 30 held-out words (15 capitals) answered without examples, the vector added behind depth
              n_layers / 3, minus the same with as many random heads, and minus means from shuffled prompts
    text      accuracy from 8 to 15 examples minus that of the nearest neighbour, on all points and on unseen ones
Run: python -m benchmarks.icl_smollm2 --cells FILE (resumable); writes benchmarks/results/icl_smollm2.json.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import torch

import interp
from benchmarks.cells import Cell, measured
from benchmarks.record import conditions, write
from interp.hooks import Ablate, Mean
from interp.icl.composed import composition
from interp.icl.heads import head_scores
from interp.icl.repeats import repeats_for
from interp.icl.text_prompts import text_curve
from interp.icl.token_losses import induction_loss
from interp.icl.vectors import function_vectors
from interp.tasks.functions.registry import function_task

MODEL, SEED = "smollm2-135m", 0
KEYS = [{"kind": "heads"}, {"kind": "vectors", "relation": "antonyms"}]
KEYS += [{"kind": "text", "task": name, "d": d} for d in (3, 4, 5) for name in ("conjunction", "majority")]
KEYS += [{"kind": "vectors", "relation": name} for name in ("past", "capital")]
KEYS += [{"kind": "text", "task": "linear", "d": 2}]
TOP = 5


@cache
def model():
    """The model, loaded once."""
    return interp.load(MODEL)


def heads() -> Cell:
    """Scores, composition of the leading heads, and removal."""
    m = model()
    ids = torch.randperm(m.map.d_vocab, generator=torch.Generator().manual_seed(SEED))[:2000].tolist()
    prompts = repeats_for(m, ids, 16, 16, SEED)
    scores = head_scores(m, prompts=prompts, seed=SEED)
    top = {name: scores.top(name, TOP) for name in ("previous_token", "induction")}
    removed = [(d, h) for d, h, _ in top["induction"]]
    generator = np.random.default_rng(SEED)
    width = len(scores.means("induction", 0))
    cases = {"none": [], "induction": removed}
    for draw in range(5):
        others = {d: [h for h in range(width) if (d, h) not in removed] for d, _ in removed}
        taken = {d: generator.permutation(others[d]).tolist() for d in others}
        cases[f"random {draw}"] = [(d, taken[d].pop()) for d, _ in removed]
    losses = {}
    for name, some in cases.items():
        edits = [Ablate(f"blocks.{d}.attn.hook_z", head=h, baseline=Mean(over=prompts.tokens)) for d, h in some]
        with m.edit(*edits):
            losses[name] = induction_loss(m, prompts, SEED).to_dict()
    pairs = composition(m, sorted({d for d, _, _ in top["previous_token"]}), sorted({d for d, _, _ in
                        top["induction"]}), draws=50, seed=SEED).frame()
    keys = pairs[pairs["kind"] == "K"]
    chosen = keys[keys["writer"].isin([f"L{d}H{h}" for d, h, _ in top["previous_token"]])
                  & keys["reader"].isin([f"L{d}H{h}" for d, h, _ in top["induction"]])]
    return {"top": {name: [{"head": f"L{d}H{h}", **scores.estimate(name, d, h).to_dict()} for d, h, _ in rows]
                    for name, rows in top.items()},
            "uniform": scores.uniform, "losses": losses, "composition": chosen.to_dict("records"),
            "composition_of_all_pairs": {"mean": float(keys["score"].mean()),
                                         "share_above_random": float(keys["above_all_random"].mean())}}


def vectors(relation: str) -> Cell:
    """A function vector and its tests."""
    few = {"words": 15, "means": 20} if relation == "capital" else {"words": 30, "means": 30}
    found = function_vectors(model(), relation, seed=SEED, shots=5, tried=12, shuffled=8, kinds=["zero-shot"],
                             depths=[3, 7, 10, 14, 18, 22, 26], **few)
    depth = min(found.depths, key=lambda d: abs(d - model().n_layers / 3))
    right = found.right["zero-shot"]
    row = found.depths.index(depth)
    gain = {name: interp.results.bootstrap_mean(right["function vector"][row] - right[name][row], unit="words",
                                                seed=SEED).to_dict() for name in right if name != "function vector"}
    frame = found.frame()
    return {"depth": depth, "gain": gain, "curve": frame.to_dict("records"), "heads": found.head_frame().to_dict(
            "records"), "reads": found.reads, "with_examples": float(found.shown.mean()), "words": len(found.shown)}


def text(task: str, d: int) -> Cell:
    """Curves in text, and the differences that were fixed above."""
    found = text_curve(model(), function_task(task, d=d), n=16, prompts=20, seed=SEED)
    against = {"all": found.mean("model", against="nearest neighbour", since=8).to_dict()}
    if found.unseen[:, 8:].any(1).sum() > 3:
        against["unseen"] = found.mean("model", against="nearest neighbour", since=8, unseen=True).to_dict()
    return {"against_nearest": against, "late": {name: found.mean(name, since=8).to_dict() for name in found.losses},
            "mass": float(found.mass[:, 1:].mean()), "unseen": float(found.unseen[:, 8:].mean()),
            "curve": found.frame().to_dict("records"), "prompt": found.text[:120]}


def main() -> None:
    """Measure what is missing and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--most", type=int, help="how many cells to measure now, at most")
    options = parser.parse_args()
    before = conditions()

    def measure(kind: str, **key) -> Cell:
        print(kind, key, flush=True)
        return {"heads": heads, "vectors": vectors, "text": text}[kind](**key)

    cells = list(measured(options.cells, KEYS, measure, options.most))
    write("icl_smollm2", before, cells, model=MODEL, seed=SEED, missing=len(KEYS) - len(cells))


if __name__ == "__main__":
    main()
