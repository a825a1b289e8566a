"""Codebooks on real text: k = 8 codes of 1,024 on every head of garden/text-small, and on one layer of SmolLM2-135M.

Loss against the model without books; 100 random live codes read blind, best and worst ten; topics steered, against
activation addition at equal perplexity (text-small). Trained here on the training split of the corpus, measured on the
test split; seed 0. Some 25 CPU minutes.

Steering: in every head the codes that raise the chance of the topic's words most, spelled out, on contexts from
addresses of the training split; judged on other texts: four beginnings, ten texts of 100 tokens each. The goal that was
set: from below 10 % of texts that name the topic to above 50 %. Pilots: codes chosen by the words' first tokens steered
nothing; chosen by whole words, for the sea alone, they did (seeds 1 and 20).
Run: python -m benchmarks.codebook_text --folder DIR [--only NAME] (what DIR holds is not made again)
"""

import argparse
import dataclasses
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

import interp
from benchmarks.cells import measured
from benchmarks.record import conditions, write
from interp.codebook import TokenCodes, attach, load, measure
from interp.codebook.blind_reading import blind
from interp.codebook.books import Books
from interp.codebook.choosing import contexts, influence, spelled, strongest
from interp.codebook.circuits import Code
from interp.codebook.files import FACTS
from interp.codebook.index import build_index
from interp.codebook.steering import activated, addition, steer
from interp.hooks import HookedModel
from interp.tasks.corpus import corpus, documents

SEED, K, N_CODES, LENGTH = 0, 8, 1024, 127
TOPICS = {
    "war": "war|wars|battle|army|navy|troops|military|soldiers",
    "money": "gold|silver|bank|banks|currency|money|treasury",
    "sea": "sea|seas|ship|ships|whale|whales|boat|boats|captain|deck|sail|sails|mast|crew|harpoon|ocean|voyage|Ahab|"
           "whaling|water|waves",
}
PROMPTS = ("The", "We have", "It is", "In the last year")
SAMPLES, NEW, TRIED, CONTEXTS = 10, 100, 6, (12, 40)
PER_HEAD, SCALES = (1, 2, 3, 4), (2.0, 4.0, 8.0)
ADDED_AT = "blocks.1.hook_resid_post"
HELD = [d.text[i : i + 1500] for d in documents() if d.split == "test" for i in (0, 6000, 12000)]


def windows(model: HookedModel, split: str, length: int):
    """A function that draws windows of the corpus and their next tokens."""
    ids = torch.tensor(model.tokenizer(corpus(split), verbose=False)["input_ids"])

    def draw(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        at = torch.randint(len(ids) - length - 1, (rows,), generator=generator)[:, None] + torch.arange(length + 1)
        return ids[at[:, :-1]], ids[at[:, 1:]]

    return draw


def trained(folder: Path, name: str, sites: str, examples: int, **settings: Any) -> Books:
    """Books on a model, made or read."""
    model, place = interp.load(name), folder / name.replace("/", "-")
    if (place / FACTS).exists():
        return load(place, model)
    draw = windows(model, "train", LENGTH)
    example = draw(examples, Generator().manual_seed(10**6))[0]
    books = attach(model, sites, n_codes=N_CODES, k=K, init="kmeans", example=example, seed=SEED)
    books.train(draw, seed=SEED, folder=place / "checkpoint", **settings)
    books.save(place)
    return books


def report(books: Books, folder: Path, texts: list[str], rows: int) -> dict[str, Any]:
    """Loss and use on held-out text, and what a blind reader makes of 100 random live codes."""
    x, targets = windows(books.model, "validation", LENGTH)(rows, Generator().manual_seed(7))
    use = measure(books, x, targets, rows=8)
    found = build_index(books, texts, folder / f"index-{books.model.name}", rows=8)
    read = blind(found, n=100, seed=SEED)
    ends = [read.table.head(10), read.table.tail(10)]
    return {
        "scores": {k: v.to_dict() for k, v in use.scores.items()}, "books": use.frame().to_dict("records"),
        "blind": read.mean.to_dict(), "blind, random contexts": read.chance.to_dict(), "live": read.live,
        "eligible": read.eligible, "auc of 0.8 or more": float((read.table["auc"] >= 0.8).mean()),
        "best ten": ends[0].to_dict("records"), "worst ten": ends[1].to_dict("records"),
        "search": {name: found.search(pattern, by="f1", n=3).frame().to_dict("records")
                   for name, pattern in TOPICS.items() if name != "sea"},  # Moby Dick is in the training split
    }


def chosen(books: Books, found: TokenCodes, pattern: str) -> tuple[list[Code], Tensor]:
    """The codes of every head that mark the topic in training text, and by how much each raises its words."""
    neutral = [d.text for d in documents() if d.split == "train" and d.party]
    before = contexts(books.model.tokenizer, neutral, *CONTEXTS, seed=SEED)
    codes = []
    for site in books.sites:
        groups = books.of(site).groups
        table = found.topic(pattern, n=TRIED * groups, sites=[site])
        codes += [Code(site, group, int(code)) for group in range(groups)
                  for code in table[table["group"] == group]["code"].head(TRIED)]
    return codes, influence(books, before, codes, spelled(books.model.tokenizer, pattern.split("|")))


def steering(books: Books, topic: str, pattern: str) -> dict[str, Any]:
    """One topic: more and more codes in every head, and a vector added more and more strongly."""
    train = [d for d in documents() if d.split == "train"]
    texts = [d.text[i : i + 1500] for d in train[-40:] for i in range(0, 9000, 4500)]
    texts += [d.text[i : i + 1500] for d in train if not d.party for i in range(20_000, 340_000, 8000)]  # the novel
    with books.untrained() as clean:
        found = TokenCodes.of(books, texts)
        vector = addition(clean, found.tokens, pattern, ADDED_AT)
    codes, gains = chosen(books, found, pattern)
    ways = {"model": None, "books": books}
    ways |= {f"codes in {n} slots of every head": activated(books, strongest(codes, gains, n)) for n in PER_HEAD}
    added = {f"addition x {scale:g}": dataclasses.replace(vector, scale=scale) for scale in SCALES}
    done = steer(books, PROMPTS, ways | added, pattern, samples=SAMPLES, length=NEW, seed=SEED, clean=[*added])
    table = done.frame()
    curve = ["model", *added]
    table["addition there"] = [done.rate_at(p, curve) for p in table["perplexity"]]
    side = done.texts[done.texts["sample"] == 0][["way", "prompt", "text", "perplexity", "topic"]]
    return {"topic": topic, "pattern": pattern,
            "codes": [[str(codes[i]), float(gains[i])] for i in gains.argsort(descending=True).tolist()],
            "ways": table.to_dict("records"), "side by side": side[side["prompt"] == PROMPTS[1]].to_dict("records")}


def cell(folder: Path, model: str, what: str) -> dict[str, Any]:
    """The report on a model, or one topic."""
    began = time.process_time()
    if model == "text-small":
        books = trained(folder, "garden/text-small", "blocks.*.attn.hook_z", 128, steps=500, batch=16, rate=1e-3,
                        model_rate=3e-4, replace_every=50)
        found = report(books, folder, HELD, 64) if what == "report" else steering(books, what, TOPICS[what])
    else:
        books = trained(folder, model, "blocks.22.attn.hook_z", 32, steps=80, batch=4, rate=1e-3, replace_every=25)
        found = report(books, folder, HELD[:33], 12)
    print(model, what, flush=True)
    return {"seed": SEED} | found | {"cpu_seconds": round(time.process_time() - began, 1)}


def main() -> None:
    """What is not there yet, cell by cell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True, help="where books, indices and finished cells are kept")
    parser.add_argument("--only", choices=("text-small", "smollm2-135m"), help="one of the models")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keys = [{"model": "text-small", "what": what} for what in ("report", *TOPICS)]
    keys += [{"model": "smollm2-135m", "what": "report"}]
    keys = [key for key in keys if given.only in (None, key["model"])]
    before = conditions()
    write("codebook_text", before, list(measured(given.folder / "cells.jsonl", keys, partial(cell, given.folder))))


if __name__ == "__main__":
    main()
