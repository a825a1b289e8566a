"""What codebooks cost: a look-up against a matrix product and other searches; a training step against one without.

`--faiss PYTHON` is an interpreter that has faiss (faiss-cpu in an environment of its own); it measures itself against a
matrix product in its own process. Run: python -m benchmarks --only codebook
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Generator, Tensor

from benchmarks.timing import ratios, show
from interp.codebook.book import Codebook
from interp.codebook.books import attach
from interp.codebook.train import _forward, next_token
from interp.garden.catalog import build

ROWS, D, K = 2048, 64, 8
SIZES = (1024, 10_000, 25_000)
STEP_GOAL = 1.5

_FAISS = """
import json, statistics, sys, time
import faiss, numpy as np
faiss.omp_set_num_threads(1)
rows, d, k, rounds, *sizes = map(int, sys.argv[1:])
found = {}
for n in sizes:
    rng = np.random.default_rng(0)
    x, codes = (rng.standard_normal((m, d), dtype=np.float32) for m in (rows, n))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    index = faiss.IndexFlatIP(d); index.add(codes)
    times = {"product": [], "faiss": []}
    for _ in range(rounds + 1):
        for name, call in (("product", lambda: x @ codes.T), ("faiss", lambda: index.search(x, k))):
            start = time.process_time(); call(); times[name].append(time.process_time() - start)
    ratio = statistics.median(b / a for a, b in zip(times["product"][1:], times["faiss"][1:]))
    found[n] = {"product_ms": 1e3 * statistics.median(times["product"]), "ratio": ratio}
print(json.dumps(found))
"""


def lookups(n: int, rounds: int) -> None:
    """Encode and decode 2,048 vectors of 64 numbers with n codes, k = 8, against the product that it cannot avoid."""
    from sklearn.neighbors import NearestNeighbors

    generator = Generator().manual_seed(0)
    x = torch.randn(ROWS, D, generator=generator)
    book = Codebook(torch.randn(n, D, generator=generator), k=K).eval()
    unit = torch.nn.functional.normalize(book.codes.detach(), dim=-1)
    other = NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(book.codes.detach().numpy())
    with torch.no_grad():
        found = ratios({
            "matrix product": lambda: x @ unit.T,
            "encode and decode": lambda: book(x),
            "the product and torch.topk": lambda: (x @ unit.T).topk(K),
            "scikit-learn, brute force": lambda: other.kneighbors(x.numpy()),
        }, rounds)
    show(f"{ROWS:,} vectors of {D} numbers, {n:,} codes, k = {K}", found)


def step(k: int, rounds: int) -> None:
    """A training step (16 rows of 128 tokens, width 256, 4 layers of 4 heads, vocabulary 1,024, AdamW) with a book of
    1,024 codes on every head, against one without."""
    model = build("gpt", d_model=256, n_layers=4, n_heads=4, d_vocab=1024, n_ctx=128, seed=0)
    books = attach(model, "blocks.*.attn.hook_z", n_codes=1024, k=k)
    x = torch.randint(1024, (16, 128), generator=Generator().manual_seed(0))
    targets = x.roll(-1, 1)
    optimisers = [torch.optim.AdamW(model.parameters()), torch.optim.AdamW([*model.parameters(),
                                                                           *books.table.parameters()])]
    model.train()
    books.table.train()

    def learn(loss: Callable[[], Tensor], optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        optimiser.step()

    def with_books() -> Tensor:
        loss, error, _ = _forward(books, x, targets, next_token)
        return loss + error

    name = "with books on every head"
    found = ratios({"without books": lambda: learn(lambda: next_token(model(x), targets), optimisers[0]),
                    name: lambda: learn(with_books, optimisers[1])}, rounds)
    show(f"training step, 1,024 codes a head, k = {k}", found, {name: STEP_GOAL})


def faiss(python: Path, rounds: int) -> None:
    """The exact inner-product search of faiss, one thread, against numpy's product in the same process."""
    command = [str(python), "-c", _FAISS, *map(str, (ROWS, D, K, rounds, *SIZES))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    for n, found in json.loads(done.stdout).items():
        product = found["product_ms"]
        show(f"faiss IndexFlatIP: {ROWS:,} vectors of {D} numbers, {int(n):,} codes, k = {K}", {
            "numpy's product": (product, 1.0, 0.0), "faiss": (product * found["ratio"], found["ratio"], 0.0)})


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--faiss", type=Path, default=os.environ.get("INTERP_FAISS_PYTHON"))
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    for n in SIZES:
        lookups(n, given.rounds)
    if given.faiss is not None:
        faiss(given.faiss, given.rounds)
    for k in (K, 1):
        step(k, given.rounds)


if __name__ == "__main__":
    main()
