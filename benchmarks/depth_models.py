"""How trained models use their depth: the numbers of docs/depth.md on SmolLM2, MiniLM, rxnmapper, DINOv2, text-small.

What `interp depth` measures, with its defaults (8 windows of 64 tokens of held-out addresses, or crops, or the prompts
of a task; seed 0), massive tokens left out; the ratio of mean relative contributions between the halves of the depth,
block 0 left out, in each document; depth scores of easier and harder prompts (`interp.tasks.hops`, 16 a row); phases
and what becomes of noise, on as many of those inputs as `PHASED` says; rxnmapper beyond its trained number of loops.
Run: python -m benchmarks.depth_models --cells FILE (a cell that FILE holds is not measured again); 15 CPU minutes.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import interp
from benchmarks.cells import Cell, measured
from benchmarks.record import conditions, write
from interp.depth import profile, skip_effects
from interp.depth.collect import STREAM
from interp.depth.dynamics import dynamics, self_correction
from interp.depth.examples import Examples, examples
from interp.depth.looped import visits, with_loops
from interp.depth.phase_count import phases
from interp.depth.phases import Segments, segment
from interp.depth.profiles import Profile
from interp.depth.score import depth_scores
from interp.lens import fit_tuned_lens
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.tasks.hops import arithmetic, hops
from interp.tasks.reactions import vocabulary

SEED, TOKENS = 0, 64
MODELS: dict[str, dict[str, Any]] = {
    "smollm2-135m": {"tuned": 64, "skips": ("current", "future")},
    "minilm-l6": {"skips": ("current", "past")},
    "rxnmapper": {"skips": ("current",), "task": "atom-mapping", "n": 24},
    "dinov2-s": {"skips": ("current",)},
    "garden/text-small": {"tuned": 200, "skips": ("current",)},
}
HARDER = {"1 hop": partial(hops, hops=1), "2 hops": partial(hops, hops=2), "3 hops": partial(hops, hops=3),
          "2 terms": partial(arithmetic, terms=2), "4 terms": partial(arithmetic, terms=4)}
PHASED: dict[str, int] = {"smollm2-135m": 12, "rxnmapper": 32, "dinov2-s": 18, "minilm-l6": 16, "garden/text-small": 16}
LOOPS, TRAINED, MASKED, MASKS = (6, 9, 10, 11, 12, 13, 14, 16, 20, 24, 36), 12, 0.15, 8


def inputs(model: interp.HookedModel, task: str | None, n: int) -> Examples:
    """Prompts of a task, or what a model of this kind is shown."""
    if task is None:
        return examples(model, n, TOKENS, SEED)
    prompts = interp.task(task, model=model, n=n, seed=SEED)
    return Examples(prompts.clean, task, [str(c) for c in prompts.clusters])


def halves(found: Profile, part: str, measure: str) -> dict[str, Any]:
    """Of one part: the mean of a measure over each half of the depth, block 0 left out, and the second over the first;
    every document's tokens are averaged before documents are resampled."""
    values, chosen = found.values[part][measure].double(), found.select(masked=True)
    rows = values.where(chosen & ~values.isnan(), 0).sum(-1) / (chosen & ~values.isnan()).sum(-1).clamp(min=1)
    there, middle = (rows != 0).any(1), found.n_layers // 2
    first = rows[1:middle][there[1:middle]].mean(0).numpy()
    second = rows[middle:][there[middle:]].mean(0).numpy()
    clusters = None if found.clusters is None else list(found.clusters)
    means: dict[str, Estimate] = {"first half": bootstrap_mean(first, clusters, seed=SEED),
                                  "second half": bootstrap_mean(second, clusters, seed=SEED)}
    if measure == "relative":
        means["second / first"] = bootstrap_ratio(second, first, clusters, seed=SEED)
    return {"part": part, "measure": measure} | {name: e.to_dict() for name, e in means.items()}


def of_model(name: str, skips: tuple[str, ...], tuned: int = 0, task: str | None = None, n: int = 8) -> Cell:
    """Profile, lens and skip effects of one model."""
    model = interp.load(name)
    shown = inputs(model, task, n)
    lens = fit_tuned_lens(model, examples(model, tuned, TOKENS, SEED, "train").x) if tuned else None
    found = profile(model, shown.x, tuned=lens, clusters=shown.clusters)
    everything = found.frame()
    rows = {"with massive tokens": everything[everything["measure"] == "relative"], "without": found.frame(masked=True)}
    lenses = {one.kind: one.frame() for one in (found.lens, found.tuned) if one is not None}
    outputs = {mode: skip_effects(model, shown.x, mode, clusters=shown.clusters).output_frame() for mode in skips}
    parts = [(part, measure) for part in found.parts if part != STREAM for measure in ("relative", "cosine")]
    return {"inputs": shown.what, "halves": [halves(found, *which) for which in parts if which[1] in
                                             found.values[which[0]]]} | {
        name: table.replace({np.nan: None}).to_dict("records") for group in (rows, lenses, outputs)
        for name, table in group.items()}


def spans(segments: Segments) -> str:
    """Segments as they are said: "0-1, 2-3"."""
    return ", ".join(f"{part[0]}-{part[-1]}" for part in segments)


def phased(model: interp.HookedModel, x: Any, skip_first: bool = False) -> Cell:
    """Segments by max-cut, the best three where there are six depths, and the curve over their number."""
    found = phases(model, x, skip_first=skip_first, seed=SEED)
    three = segment(found.distances, "dp", k=3) if len(found.distances) >= 6 else None
    return {"maxcut": spans(found.segments), "best 3": three and spans(three), "contiguous": found.contiguous,
            "curve": found.curve.to_dict("records")}


def of_phases(name: str) -> Cell:
    """Phases, dynamics and noise of one model; of SmolLM2 also without first tokens, and with random weights."""
    model = interp.load(name)
    shown = inputs(model, MODELS[name].get("task"), PHASED[name])
    noise = self_correction(model, shown.x, seed=SEED)
    ends = zip(noise.starts, noise.rate, noise.angle[:, -1], noise.distance[:, -1])
    found = {"inputs": shown.what, "phases": phased(model, shown.x),
             "dynamics": dynamics(model, shown.x).frame().replace({np.nan: None}).to_dict("records"),
             "noise": [dict(zip(("start", "rate", "angle", "distance"), map(float, row))) for row in ends]}
    if name.startswith("smollm2"):
        found["phases without first tokens"] = phased(model, shown.x, skip_first=True)
        torch.manual_seed(SEED)
        module = type(model.module)(model.module.config).eval()
        found["phases, random weights"] = phased(interp.hook(module, name="random"), shown.x)
    return found


def beyond(name: str) -> Cell:
    """Loss at masked tokens by number of loops, and its change against the trained number: of every prompt the mean
    over `MASKS` draws of the mask, clusters of prompts resampled; and what each visit does."""
    model = interp.load(name)
    task = interp.task(MODELS[name]["task"], model=model, n=PHASED[name], seed=SEED)
    ids, known = task.clean["input_ids"], vocabulary()
    special = torch.tensor([known[token] for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    masks = [(torch.rand(ids.shape, generator=torch.Generator().manual_seed(SEED + i)) < MASKED)
             & ~torch.isin(ids, special) for i in range(MASKS)]
    means: dict[int, np.ndarray] = {}
    for n in LOOPS:
        changed, rows = with_loops(model, n), []
        for mask in masks:
            with torch.no_grad():
                logits = changed({**task.clean, "input_ids": ids.masked_fill(mask, known["[MASK]"])})
            losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none").double()
            rows.append((losses * mask).sum(1) / mask.sum(1))  # NaN where nothing is masked
        means[n] = torch.stack(rows).nanmean(0).numpy()
    of = partial(bootstrap_mean, clusters=[str(c) for c in task.clusters], seed=SEED)
    shown = {**task.clean, "input_ids": ids.masked_fill(masks[0], known["[MASK]"])}
    return {"loops": [{"loops": n, "loss": of(loss).to_dict(), "change": of(loss - means[TRAINED]).to_dict()}
                      for n, loss in means.items()],
            "visits": visits(model, shown).frame().replace({np.nan: None}).to_dict("records")}


def cell(model: str, harder: bool = False, phases: bool = False, loops: bool = False) -> Cell:
    """One model, or how deep it goes for harder prompts, or its phases, or what it does beyond its trained loops."""
    if phases or loops:
        return of_phases(model) if phases else beyond(model)
    if not harder:
        return of_model(model, **MODELS[model])
    loaded = interp.load(model)
    scores = depth_scores(loaded, {name: make(loaded, 16, SEED) for name, make in HARDER.items()})
    return {"depth scores": scores.frame().to_dict("records")}


def main() -> None:
    """What is not there yet, then the record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.depth_models", description=__doc__)
    parser.add_argument("--cells", type=Path, required=True, help="a JSON lines file that is continued")
    given, before = parser.parse_args(), conditions()
    torch.set_num_threads(1)
    keys: list[Cell] = [*({"model": name} for name in MODELS), {"model": "smollm2-135m", "harder": True},
                        *({"model": name, "phases": True} for name in PHASED), {"model": "rxnmapper", "loops": True}]
    print(write("depth_models", before, list(measured(given.cells, keys, cell))))


if __name__ == "__main__":
    main()
