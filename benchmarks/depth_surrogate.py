"""Block-recurrent surrogates of a small trained ViT: contiguous segments by max-cut against shuffled ones.

    python -m benchmarks.depth_surrogate [--seeds 5] [--steps 150] [--store FILE]

For each seed a ViT is trained on scikit-learn's digits, its phases are found on training images, and as many tied
blocks are fitted to it twice over: along the phases, and with the same segment sizes at depths in a random order (two
orders a seed). Fidelity is R2 on held-out images; accuracy is that of the ViT's own head on the surrogate's stream.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from sklearn.datasets import load_digits

from benchmarks.record import conditions, write
from interp.architectures.gpt import ATTN, GPT
from interp.depth.maps import map_depths
from interp.depth.phase_count import count_phases, prompt_distances
from interp.depth.phases import segment
from interp.depth.similarity import similarity
from interp.depth.streams import streams
from interp.depth.surrogate import fit_surrogate
from interp.parts.attention import Attention
from interp.parts.patch_model import hooked
from interp.results.estimate import bootstrap_mean
from interp.results.files import atomic_write

TRAIN, ORDERS, COUNTS = 1400, 2, (2, 3)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Digits as [image, 3, 16, 16] (8 x 8, each pixel four times, the same in all channels) and their classes."""
    found = load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32) / 8 - 1
    pixels = pixels.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].expand(-1, 3, -1, -1).contiguous()
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return pixels[order], torch.tensor(found.target)[order]


def vit(n_layers: int, seed: int, d_model: int = 32):
    """An untrained ViT for the digits: 16 patches, bidirectional."""
    attention = replace(ATTN, op=lambda spec: Attention.of(spec, causal=False))
    spec = replace(GPT, block=(attention, GPT.block[1]), d_model=d_model, n_layers=n_layers, n_heads=4, d_vocab=10,
                   n_ctx=16, tied=())
    return hooked(spec, seed, name=f"digits-vit-{n_layers}l")


def train(model, pixels: torch.Tensor, classes: torch.Tensor, seed: int, epochs: int):
    """Adam with a cosine, 64 images a step."""
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(pixels) // 64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(pixels), generator=generator)[: 64 * (len(pixels) // 64)].split(64):
            loss = torch.nn.functional.cross_entropy(model(pixels[rows]), classes[rows])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return model.eval()


def accuracy(model, pixels: torch.Tensor, classes: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(pixels).argmax(1) == classes).float().mean())


def shuffled(segments: list[list[int]], generator: np.random.Generator) -> list[list[int]]:
    """Segments of the same sizes over depths in a random order that is not contiguous again."""
    depths = sum(map(len, segments))
    while True:
        order, parts, start = generator.permutation(depths).tolist(), [], 0
        for part in segments:
            parts.append(sorted(order[start: start + len(part)]))
            start += len(part)
        if any(np.ptp(part) > len(part) - 1 for part in parts):
            return parts


def one_seed(seed: int, layers: int, epochs: int, steps: int) -> list[dict]:
    """Rows of one trained ViT: phases, surrogates, and maps from a ViT half as deep."""
    pixels, classes = data()
    fit, test = (pixels[:TRAIN], classes[:TRAIN]), (pixels[TRAIN:], classes[TRAIN:])
    model = train(vit(layers, seed), *fit, seed, epochs)
    shallow = train(vit(layers // 2, seed + 100), *fit, seed + 100, epochs)
    found = streams(model, fit[0][:256])
    distances = prompt_distances(found)
    phases = count_phases(distances, draws=100, seed=seed, name=model.name)
    rows = [{"what": "teacher", "seed": seed, "accuracy": accuracy(model, *test), "phases": phases.segments,
             "k_gain": phases.k_gain, "score": phases.score, "contiguous": phases.contiguous,
             "curve": phases.curve.round(4).to_dict("records")}]
    generator = np.random.default_rng(seed)
    for k in COUNTS:
        own = segment(phases.distances, "dp", k=k) if len(phases.segments) != k else phases.segments
        ways = [("contiguous", own), *(("shuffled", shuffled(own, generator)) for _ in range(ORDERS))]
        for what, segments in ways:
            surrogate, report = fit_surrogate(model, segments, fit[0], test[0], steps=steps, seed=seed)
            rows.append({"what": what, "seed": seed, "k": k, "segments": segments, "r2_last": float(report.r2[-1]),
                         "r2_mean": float(report.r2.mean()), "r2_taught": float(report.r2_taught.mean()),
                         "accuracy": accuracy(surrogate, *test), "parameters": report.parameters})
            print(rows[-1], flush=True)
    a, b, c = (streams(m, test[0][:200]) for m in (shallow, model, vit(layers, seed + 200)))
    for what, one, two in (("trained to trained", a, b), ("trained to random", a, c)):
        maps = map_depths(one, two, seed=seed)
        alike = similarity(one.rows(torch.arange(800)), two.rows(torch.arange(800)), "cka").values
        rows.append({"what": f"maps, {what}", "seed": seed, **maps.diagonal,
                     "error_last": float(maps.error[:, -1].min()), "error": maps.error.round(3).tolist(),
                     "cka": alike.round(3).tolist()})
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """Contiguous minus the mean of the shuffled ones of the same seed, over seeds."""
    found = []
    for k in COUNTS:
        for measure in ("r2_last", "r2_mean", "r2_taught", "accuracy"):
            by = {what: {seed: np.mean([r[measure] for r in rows if r.get("k") == k and r["what"] == what
                                        and r["seed"] == seed]) for seed in {r["seed"] for r in rows}}
                  for what in ("contiguous", "shuffled")}
            gaps = [by["contiguous"][seed] - by["shuffled"][seed] for seed in sorted(by["contiguous"])]
            means = {what: bootstrap_mean(list(values.values()), unit="seeds").to_dict() for what, values in by.items()}
            difference = bootstrap_mean(gaps, unit="seeds").to_dict()
            ahead = int(sum(g > 0 for g in gaps))
            found.append({"k": k, "measure": measure, **means, "difference": difference, "seeds_ahead": ahead})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--store", type=Path, default=user_cache_path("interp") / "benchmarks" / "depth_surrogate.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    before, rows, seconds = conditions(), [], 0.0
    settings = {"layers": given.layers, "epochs": given.epochs, "steps": given.steps, "version": 1}
    kept = json.loads(given.store.read_text()) if given.store.exists() else {}
    kept = kept if kept.get("settings") == settings else {"settings": settings}
    given.store.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(given.seeds):
        if str(seed) not in kept:
            start = time.process_time()
            found = one_seed(seed, given.layers, given.epochs, given.steps)
            kept[str(seed)] = {"rows": found, "seconds": time.process_time() - start}
            atomic_write(given.store, json.dumps(kept))
        rows += kept[str(seed)]["rows"]
        seconds += kept[str(seed)]["seconds"]
        print(f"seed {seed}: {seconds:.0f} s", flush=True)
    tables = [{"title": "contiguous against shuffled", "rows": summary(rows)}, {"title": "all", "rows": rows}]
    path = write("depth_surrogate", before, tables, settings=settings, cpu_seconds=round(seconds))
    print(f"wrote {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
