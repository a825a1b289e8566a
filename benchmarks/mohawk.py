"""Attention distilled into a discrete Mamba-2: three stages against end to end, at equal steps.

    python -m benchmarks.mohawk [--seeds 5] [--store FILE] [--cells N]      at most N new cells now

Teacher: garden/induction-2l, on blocks of 5 to 14 tokens repeated to 32. Stated before these cells (and after one
exploratory run on longer rows): KL(teacher || student) in nats a token on held-out sequences, "end to end" minus "three
stages", paired by seed, with an interval over seeds. Both arms have as many steps and the same data. Three stages have
the rate that they were written with; end to end has the better one of RATES at every seed, chosen on the held-out
sequences themselves, so that what is left is in its favour. Cells go to the store as soon as they are there, and a run
that was killed goes on.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch
from platformdirs import user_cache_path
from torch import Generator, Tensor

import interp
from benchmarks.record import conditions, write
from interp.garden.recipes.induction_2l import BOS, N_TOKENS
from interp.results.estimate import bootstrap_mean
from interp.results.files import atomic_write
from interp.surgery.mohawk import mohawk

TEACHER, STEPS, BATCH, N_POS, RATES = "garden/induction-2l", 500, 16, 32, (3e-3, 1e-2)
ARMS: dict[str, dict[str, int]] = {
    "three stages": {"orientation": 150, "hidden": 150, "output": 200}, "end to end": {"output": STEPS},
}


def repeats(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """BOS and a block of 5 to 14 different tokens over and over, [rows, 32]; and True [rows, 31] where the next token
    has stood in the block before."""
    period = torch.randint(5, 15, (rows, 1), generator=generator)
    order = torch.rand(rows, N_TOKENS, generator=generator).argsort(1)
    place = torch.arange(N_POS - 1)
    tokens = torch.cat([torch.full((rows, 1), BOS), order.gather(1, place % period)], 1)
    return tokens, torch.arange(N_POS - 1) >= period


def accuracy(model, tokens: Tensor, where: Tensor) -> float:
    """Share of the repeated tokens that are predicted."""
    with torch.no_grad():
        right = model(tokens)[:, :-1].argmax(-1) == tokens[:, 1:]
    return float(right[where].float().mean())


def cell(arm: str, rate: float, seed: int) -> dict:
    """One distillation: distances behind every stage, accuracy, seconds."""
    start = time.process_time()
    teacher, (tokens, where) = interp.load(TEACHER), repeats(256, Generator().manual_seed(10_000))
    student, found = mohawk(teacher, lambda n, g: repeats(n, g)[0], tokens, stages=ARMS[arm], rate=rate, seed=seed,
                            batch=BATCH)
    return {"arm": arm, "rate": rate, "seed": seed, "kl": found.distances[-1]["output"],
            "accuracy": accuracy(student, tokens, where), "teacher_accuracy": accuracy(teacher, tokens, where),
            "distances": found.frame().round(4).to_dict("records"), "s": round(time.process_time() - start, 1)}


class Store:
    """Rows of finished cells in a file of lines; `new`: how many more may be made."""

    def __init__(self, path: Path, new: int | None = None):
        self.path, self.new = path, new
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)

    def get(self, *key) -> dict:
        for row in self.rows:
            if (row["arm"], row["rate"], row["seed"]) == key:
                return row
        if self.new == 0:
            raise SystemExit("as many new cells as were asked for")
        self.new = self.new and self.new - 1
        row = cell(*key)
        print({k: v for k, v in row.items() if k != "distances"}, flush=True)
        self.rows.append(row)
        atomic_write(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
        return row

    def best(self, arm: str, seed: int) -> dict:
        """The row of an arm: of end to end the better one of all rates."""
        rates = RATES if arm == "end to end" else RATES[:1]
        return min((self.get(arm, rate, seed) for rate in rates), key=lambda row: row["kl"])


def summary(rows: list[dict]) -> list[dict]:
    """Every arm's numbers with intervals over seeds, and its KL minus that of three stages, paired."""
    found = []
    own = {row["seed"]: row["kl"] for row in rows if row["arm"] == "three stages"}
    for arm in ARMS:
        mine = [row for row in rows if row["arm"] == arm]
        gaps = [row["kl"] - own[row["seed"]] for row in mine]
        found.append({"arm": arm, "rates": sorted({row["rate"] for row in mine})} | {
            name: bootstrap_mean(values, unit="seeds").to_dict()
            for name, values in (("kl", [row["kl"] for row in mine]), ("kl_minus_three_stages", gaps),
                                 ("accuracy", [row["accuracy"] for row in mine]))})
    return found


def main() -> None:
    """Measure seed after seed, go on from what is stored, and write the record once an interval is possible."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, default=user_cache_path("interp") / "benchmarks" / "mohawk.jsonl")
    parser.add_argument("--cells", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    before, store, rows = conditions(), Store(given.store, given.cells), []
    for seed in range(given.seeds):
        rows += [store.best(arm, seed) for arm in ARMS]
        if seed:  # an interval needs two
            tables = [{"title": f"{TEACHER}, {STEPS} steps", "rows": summary(rows)},
                      {"title": "all", "rows": store.rows}]
            path = write("mohawk", before, tables, seeds=seed + 1, arms=ARMS, batch=BATCH, n_pos=N_POS,
                         cpu_seconds=round(sum(row["s"] for row in store.rows)))
            print(f"{seed + 1} seeds: wrote {os.path.relpath(path)}", flush=True)


if __name__ == "__main__":
    main()
