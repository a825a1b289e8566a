"""Taking depth away from SmolLM2-135M: what each removal costs on held-out text, against removals drawn at random.

    python -m benchmarks.depth_surgery [--windows 16] [--tokens 64] [--store FILE]

Scores, flattening and fusing see the calibration windows (addresses of years that end in 3); losses are of the test
windows (years that end in 7), one window a document, so that intervals resample documents. Every loss goes to the store
as soon as it is there, and a run that was killed goes on. Blocks below the first change are not computed again.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path

import interp
from benchmarks.record import conditions, write
from interp.depth.influence import block_influences
from interp.depth.rewired import parameter_count, without
from interp.hooks import Patch
from interp.results.estimate import bootstrap_mean, bootstrap_statistic
from interp.results.files import atomic_write
from interp.surgery.drop import drop, droppable, ranking, similarities
from interp.surgery.flatten import flatten, flatten_most_similar
from interp.surgery.fuse import fuse
from interp.surgery.narrow import narrow
from interp.surgery.quality import random_removals, text_loss, windows

SIZES = {"block": (2, 4, 8), "attn": (3, 6, 12), "mlp": (2, 4), "both": (4, 8)}
DRAWS = 20
PAIRS = tuple(range(0, 29, 3))


class Store:
    """Per-window losses by key, kept in a file that is whole or absent."""

    def __init__(self, path: Path, settings: dict):
        self.path, self.settings, self.rows = path, settings, {}
        if path.exists():
            found = json.loads(path.read_text())
            self.rows = found["rows"] if found["settings"] == settings else {}
        self.seconds = self.rows.get("cpu_seconds", 0.0)
        self._start = time.process_time()

    def get(self, key: str, make: Callable[[], object]) -> object:
        """What is kept under `key`, made where it is not there yet."""
        if key not in self.rows:
            self.rows[key] = make()
            self.rows["cpu_seconds"] = self.seconds + time.process_time() - self._start
            atomic_write(self.path, json.dumps({"settings": self.settings, "rows": self.rows}))
            print(f"{self.rows['cpu_seconds']:7.0f} s  {key}", flush=True)
        return self.rows[key]


class Bench:
    """The model, its windows, and losses of changed models."""

    def __init__(self, n: int, tokens: int, store: Store):
        self.model, self.store = interp.load("smollm2-135m"), store
        self.calibration = windows(self.model, n, tokens, "validation", seed=0).ids
        self.test = windows(self.model, n, tokens, "test", seed=0)
        self.blocks = list(self.model.map.blocks.values())
        self.clean = self.model.read(self.test.ids, [b.resid_pre for b in self.blocks])
        self.base = np.array(self.loss("clean", lambda: self.model))

    def loss(self, key: str, make: Callable, start: int = 0) -> list[float]:
        """Loss of every test window for the model that `make` makes, changed from block `start` on."""
        def run() -> list[float]:
            model = make()
            if start:  # blocks below the change are handed through, and the clean stream put where they end
                model = without(model, [b.prefix for b in self.blocks[:start]])
                site = self.blocks[start].resid_pre
                with model.edit(Patch(site, self.clean[site])):
                    return text_loss(model, self.test.ids, len(self.test.ids)).tolist()
            return text_loss(model, self.test.ids).tolist()

        return self.store.get(key, run)

    def removed(self, names: list[str]) -> np.ndarray:
        """Rise of the loss without these blocks or branches, [window]."""
        names = sorted(names, key=_depth)
        found = self.loss(f"drop {' '.join(names)}", lambda: drop(self.model, names)[0], _depth(names[0]))
        return np.array(found) - self.base

    def estimate(self, values: np.ndarray) -> dict:
        """Mean over windows with its interval, documents resampled."""
        return bootstrap_mean(values, self.test.documents, unit="documents").to_dict()


def _depth(name: str) -> int:
    return int(name.split(".")[1])


def redundancy(bench: Bench) -> list[dict]:
    """Attention against MLPs: similarity and loss when one is removed, each at its depth."""
    model, rows = bench.model, []
    for by in ("cosine", "centred"):
        found = bench.store.get(f"similarity {by}", lambda by=by: similarities(model, bench.calibration, "both", by))
        gap = [found[f"blocks.{d}.hook_attn_out"] - found[f"blocks.{d}.hook_mlp_out"] for d in range(len(bench.blocks))]
        rows.append({"what": f"{by} similarity, attention minus MLP of the same block", "unit": "depths"}
                    | {kind: float(np.mean([v for k, v in found.items() if kind in k])) for kind in ("attn", "mlp")}
                    | {"difference": bootstrap_mean(gap, unit="depths").to_dict()})
    rises = {kind: np.stack([bench.removed([name]) for name in droppable(model, kind)]) for kind in ("attn", "mlp")}
    per_parameter = {kind: _size(bench, f"blocks.0.hook_{kind}_out") for kind in rises}
    for skip in (0, 1):  # the first MLP alone makes most of the mean: with and without block 0
        gap = rises["attn"][skip:].mean(0) - rises["mlp"][skip:].mean(0)
        rows.append({"what": f"rise of the loss when one is removed, blocks {skip} to 29 (nats)",
                     **{kind: bench.estimate(v[skip:].mean(0)) for kind, v in rises.items()},
                     "difference": bench.estimate(gap)})
        per = {kind: v[skip:].mean(0) * 1e6 / per_parameter[kind] for kind, v in rises.items()}
        rows.append({"what": f"the same per million parameters, blocks {skip} to 29",
                     **{kind: bench.estimate(v) for kind, v in per.items()},
                     "difference": bench.estimate(per["attn"] - per["mlp"])})
    median = {kind: np.median(v, 0) for kind, v in rises.items()}
    rows.append({"what": "median over depths of the rise (nats)",
                 **{kind: bench.estimate(v) for kind, v in median.items()},
                 "difference": bench.estimate(median["attn"] - median["mlp"])})
    return rows


def _size(bench: Bench, name: str) -> int:
    return parameter_count(bench.model) - drop(bench.model, [name])[1].parameters


def _flops(branches: dict[str, int], tokens: int, sizes: dict[str, int]) -> float:
    """Multiply-adds a token that go with so many branches; attention's scores and values at half the window."""
    return branches.get("attn", 0) * (sizes["attn"] + tokens * 576) + branches.get("mlp", 0) * sizes["mlp"]


def curves(bench: Bench, tokens: int) -> list[dict]:
    """Rise of the loss by number removed, for each score and for random sets of the same size."""
    model, rows = bench.model, []
    sizes = {kind: _size(bench, f"blocks.0.hook_{kind}_out") for kind in ("attn", "mlp")}
    short = bench.calibration[:8]
    for kind, counts in SIZES.items():
        orders = {by: bench.store.get(f"order {kind} {by}", lambda kind=kind, by=by: ranking(
            model, short, len(droppable(model, kind)), kind, by)) for by in ("cosine", "centred", "macro")}
        for n in (1, *counts):
            random = random_removals(model, n, kind, DRAWS, seed=n)
            singles = [[name] for name in droppable(model, kind)]
            drawn = np.stack([bench.removed(names) for names in (singles if n == 1 else random)])
            means = drawn.mean(1)
            chosen = {by: order[:n] for by, order in orders.items()}
            if kind == "block":
                chosen["cosine, iterative"] = bench.store.get(f"iterative {n}", lambda n=n: ranking(
                    model, short, n, "block", "cosine", iterative=True))
            for by, names in chosen.items():
                rise = bench.removed(names)
                parts = _parts(kind, names)
                rows.append({
                    "kind": kind, "n": n, "by": by, "names": names, "rise": bench.estimate(rise),
                    "random_median": float(np.median(means)), "random_mean": float(means.mean()),
                    "random_draws": len(drawn), "share_of_random_below": float((means < rise.mean()).mean()),
                    "against_random_mean": bench.estimate(rise - drawn.mean(0)),
                    "parameters": sum(sizes[k] * c for k, c in parts.items()),
                    "flops_a_token": _flops(parts, tokens, sizes),
                })
    return rows


def matched(bench: Bench, tokens: int) -> list[dict]:
    """Three attentions against one MLP, 6 against 2, 12 against 4: the same number of parameters goes.

    `random`: the mean over the drawn sets; `best`: the score whose set costs least, for each kind its own.
    """
    model, rows = bench.model, []
    sizes = {kind: _size(bench, f"blocks.0.hook_{kind}_out") for kind in ("attn", "mlp")}
    for n in (1, 2, 4):
        found: dict[str, dict[str, np.ndarray]] = {"random": {}, "best": {}}
        for kind, count in (("attn", 3 * n), ("mlp", n)):
            sets = [[name] for name in droppable(model, kind)] if count == 1 else random_removals(
                model, count, kind, DRAWS, seed=count)
            found["random"][kind] = np.mean([bench.removed(names) for names in sets], 0)
            orders = [bench.store.rows[f"order {kind} {by}"][:count] for by in ("cosine", "centred", "macro")]
            found["best"][kind] = min((bench.removed(names) for names in orders), key=lambda rise: rise.mean())
        for what, rise in found.items():
            rows.append({"attn": 3 * n, "mlp": n, "chosen": what,
                         "parameters": {"attn": 3 * n * sizes["attn"], "mlp": n * sizes["mlp"]},
                         "flops_a_token": {"attn": _flops({"attn": 3 * n}, tokens, sizes),
                                           "mlp": _flops({"mlp": n}, tokens, sizes)},
                         **{f"rise_{kind}": bench.estimate(v) for kind, v in rise.items()},
                         "difference": bench.estimate(rise["attn"] - rise["mlp"])})
    return rows


def _parts(kind: str, names: list[str]) -> dict[str, int]:
    if kind == "block":
        return {"attn": len(names), "mlp": len(names)}
    return {branch: sum(branch in name for name in names) for branch in ("attn", "mlp")}


def correlations(bench: Bench) -> list[dict]:
    """Rank correlation of every score with the measured rise of the loss, one block or branch at a time."""
    model, rows = bench.model, []
    for kind in ("block", "attn", "mlp"):
        names = droppable(model, kind)
        rise = np.array([bench.removed([name]).mean() for name in names])
        for by in ("cosine", "centred", "macro"):
            order = bench.store.rows[f"order {kind} {by}"]
            place = np.array([order.index(name) for name in names], float)
            rows.append({"kind": kind, "by": by, "n": len(names),
                         "spearman": bootstrap_statistic(_spearman, [place, rise], unit="depths").to_dict()})
    return rows


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def flattening(bench: Bench) -> tuple[list[dict], list[dict]]:
    """Adjacent pairs: flattened, flattened and narrowed to one block's width, or one of the two dropped; then more."""
    model, pairs, many = bench.model, [], []
    small, x = bench.calibration[:4], bench.calibration
    for d in PAIRS:
        keep = {}

        def flat(d=d, keep=keep):
            keep["model"], keep["report"] = flatten(model, d, small)
            return keep["model"]

        def slim(d=d, keep=keep):
            return narrow(flat(d) if "model" not in keep else keep["model"], d, x, kv_heads=3, neurons=1536)[0]

        rises = {"flat": np.array(bench.loss(f"flatten {d}", flat, d)) - bench.base,
                 "narrowed": np.array(bench.loss(f"narrow {d}", slim, d)) - bench.base,
                 "fused": np.array(bench.loss(f"fuse {d}", lambda d=d: fuse(model, d, x)[0], max(0, d - 1)))
                 - bench.base}
        ways = [bench.removed([f"blocks.{d}"]), bench.removed([f"blocks.{d + 1}"])]
        best = min(ways, key=lambda rise: rise.mean())  # chosen on the test windows: in favour of dropping
        error = bench.store.get(f"error {d}", lambda d=d: flatten(model, d, small)[1].error)
        pairs.append({"pair": d, **{name: bench.estimate(v) for name, v in rises.items()}, "drop": bench.estimate(best),
                      "drop_first": bench.estimate(ways[0]), "flat_minus_drop": bench.estimate(rises["flat"] - best),
                      "narrowed_minus_drop": bench.estimate(rises["narrowed"] - best),
                      "fused_minus_dropped": bench.estimate(rises["fused"] - ways[0]), **error})
    for n in (1, 2, 4, 8):
        flat_model: dict = {}

        def joined(n=n, flat_model=flat_model):
            flat_model["model"], flat_model["reports"] = flatten_most_similar(model, n, small)
            return flat_model["model"]

        def slimmed(n=n, flat_model=flat_model):
            current = flat_model.get("model") or joined(n)
            for depth in sorted({_depth(report.parts[0]) for report in flat_model["reports"]}):
                if f"blocks.{depth}.attn.hook_q" in current.map.sites:  # a joined block may have joined another
                    current = narrow(current, depth, x, kv_heads=3, neurons=1536)[0]
            return current

        flat_rise = np.array(bench.loss(f"flatten most similar {n}", joined)) - bench.base
        slim_rise = np.array(bench.loss(f"narrow most similar {n}", slimmed)) - bench.base
        dropped = bench.removed(bench.store.rows["order block cosine"][:n])
        many.append({"n": n, "flat": bench.estimate(flat_rise), "narrowed": bench.estimate(slim_rise),
                     "drop": bench.estimate(dropped), "flat_minus_drop": bench.estimate(flat_rise - dropped),
                     "narrowed_minus_drop": bench.estimate(slim_rise - dropped)})
    return pairs, many


def nulls(bench: Bench) -> list[dict]:
    """The same scores on a model with random weights, and on text whose tokens were shuffled."""
    from interp.adapters.transformers import library

    def summary(model, ids) -> dict:
        found = similarities(model, ids, "both")
        parts = {kind: [v for name, v in found.items() if kind in name] for kind in ("attn", "mlp")}
        return {kind: float(np.mean(v)) for kind, v in parts.items()} | {
            "block": 1 - float(np.mean(list(block_influences(model, ids).values())))}

    def random_model():
        torch.manual_seed(0)
        config = bench.model.module.config
        return interp.hook(library().AutoModelForCausalLM.from_config(config).eval(), name="random smollm2")

    def random_rows() -> dict:
        model = random_model()
        ids = bench.test.ids[:4]
        base = text_loss(model, ids).mean()
        rises = [float(text_loss(drop(model, [f"blocks.{d}"])[0], ids).mean() - base) for d in (1, 10, 20)]
        return summary(model, bench.calibration) | {"loss": float(base), "rise_without_one_block": rises}

    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(bench.calibration.numel(), generator=generator)
    shuffled = bench.calibration.flatten()[order].view_as(bench.calibration)
    return [
        {"what": "trained, text"} | bench.store.get("null trained", lambda: summary(bench.model, bench.calibration)),
        {"what": "trained, tokens shuffled"} | bench.store.get("null shuffled", lambda: summary(bench.model, shuffled)),
        {"what": "random weights, text"} | bench.store.get("null random", random_rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--store", type=Path, default=user_cache_path("interp") / "benchmarks" / "depth_surgery.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    before = conditions()
    settings = {"windows": given.windows, "tokens": given.tokens, "draws": DRAWS, "version": 1}
    given.store.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(given.windows, given.tokens, Store(given.store, settings))
    more = {"settings": settings, "clean_loss": bench.estimate(bench.base)}
    tables = []
    for title, make in {"attention against MLPs": lambda: redundancy(bench), "nulls": lambda: nulls(bench),
                        "removed by each score": lambda: curves(bench, given.tokens),
                        "matched parameters": lambda: matched(bench, given.tokens),
                        "scores and measured rise": lambda: correlations(bench)}.items():
        tables.append({"title": title, "rows": make()})
    pairs, many = flattening(bench)
    tables += [{"title": "adjacent pairs", "rows": pairs}, {"title": "flattened one after another", "rows": many}]
    singles = [{"name": name, "rise": bench.estimate(bench.removed([name]))}
               for kind in ("block", "attn", "mlp") for name in droppable(bench.model, kind)]
    tables.append({"title": "each one removed", "rows": singles})
    path = write("depth_surgery", before, tables, cpu_seconds=round(bench.store.rows["cpu_seconds"]), **more)
    print(f"wrote {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
