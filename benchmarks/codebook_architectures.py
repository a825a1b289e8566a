"""Codebooks beyond the vanilla decoder: a ViT on digits, Mamba and a looped model on TokFSM, MiniLM on text.

Small models, trained here where the garden has none (some ten CPU minutes). Of each: task accuracy with and without
books, live codes, purity against shuffled labels, detectors of labels and of a regular expression on held-out data.
Run: python -m benchmarks.codebook_architectures --cells FILE (a cell that FILE holds is not measured again)
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

import interp
from benchmarks.cells import measured
from benchmarks.record import conditions, write
from benchmarks.tokfsm import FSM, draw
from interp.codebook import TokenCodes, attach, detectors, measure, purity
from interp.codebook.books import Books
from interp.garden.recipe import Batch, Recipe
from interp.garden.recipes.digits_vit import moved
from interp.garden.train import fit
from interp.tasks.corpus import documents
from interp.tasks.digits import CLASSES, held_out, trained_on

SEED = 0
HELD = 256  # sequences
LONG = 12_000  # characters of an address, at least
PLACES = range(2000, LONG, 2000)  # where passages are taken from
PATTERN = "war|wars|battle|army|navy|troops|military"


def on_machine(name: str, sizes: dict[str, int], steps: int, sites: str, n_codes: int) -> dict[str, Any]:
    """A catalog model trained on TokFSM, then books (k = 1) trained with it."""
    sizes = sizes | {"d_vocab": FSM.base + 1}
    recipe = Recipe(name=f"{name}-tokfsm", about="", architecture=name, sizes=sizes, steps=steps, batch=32, rate=3e-3,
                    data=lambda rows, generator: Batch(*draw(rows, generator)), metrics=lambda model: {})
    model = fit(recipe, seed=SEED)
    base = FSM.state_accuracy(model, seed=SEED)
    x, targets = draw(HELD, Generator().manual_seed(10**6))
    example = draw(64, Generator().manual_seed(2 * 10**6))[0]
    books = attach(model, sites, n_codes=n_codes, k=1, pre_norm="layer", init="kmeans", example=example, seed=SEED)
    books.train(draw, steps=steps, batch=32, rate=1e-3, model_rate=1e-3, seed=SEED, replace_every=100)
    with model.edit(books):
        inside = FSM.state_accuracy(model, seed=SEED)
    found = TokenCodes.of(books, x, vocab=FSM.vocab)
    return facts(books, books.codes(x), FSM.labels(x), x, targets) | {
        "state accuracy": base.to_dict(), "with books": inside.to_dict(),
        "regex 2(3)": found.search("2(3)", words=False, n=1).frame().to_dict("records"),
        "uses per visit": {name: book.uses.sum((1, 2)).tolist() for name, book in books.table.items()}}


def facts(books: Books, codes: dict[str, Tensor], labels: Tensor, x: Tensor, targets: Tensor | None) -> dict[str, Any]:
    """Purity and detectors per site, loss and accuracy with and without books."""
    use, select = measure(books, x, targets), torch.arange(len(labels)) % 2 == 0
    n = {site: books.of(site).n_codes for site in codes}
    best = [detectors({site: ids}, labels, n[site], select=select).means().to_dict("records")[0]
            for site, ids in codes.items()]
    return {"scores": {k: v.to_dict() for k, v in use.scores.items()}, "detectors": best,
            "books": use.frame().to_dict("records"),
            "purity": {site: purity(ids, labels, n[site], seed=SEED) for site, ids in codes.items()}}


def vit() -> dict[str, Any]:
    """garden/digits-vit: books on heads and MLPs, finetuned on the 1197 training images, measured on the other 600."""
    model = interp.load("garden/digits-vit")
    (pixels, digits), (x, classes) = trained_on(), held_out()
    books = attach(model, ["blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"], n_codes=256, k=8, pre_norm="layer",
                   init="kmeans", example=pixels[:400], seed=SEED)

    def batch(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(digits), (rows,), generator=generator)
        return moved(pixels[chosen], generator), digits[chosen]

    books.train(batch, steps=1500, batch=64, rate=1e-3, model_rate=5e-4, seed=SEED, replace_every=100)
    codes = books.codes(x)
    patches = next(iter(codes.values())).shape[1]
    return facts(books, codes, classes[:, None].expand(-1, patches), x, classes) | {"classes": CLASSES}


def minilm() -> dict[str, Any]:
    """all-MiniLM-L6: books (k = 4) on the heads of one layer, trained to reconstruct; what codes say of text."""
    model = interp.load("minilm-l6")
    texts, held = ([d for d in documents() if d.split == split and len(d.text) > LONG
                    and d.party] for split in ("train", "test"))
    century = torch.tensor([(d.year - 1700) // 100 for d in held for _ in PLACES])
    texts, held = ([d.text[i : i + 600] for d in part for i in PLACES] for part in (texts[::2], held))
    books = attach(model, "blocks.3.attn.hook_z", n_codes=256, k=4, init="kmeans", seed=SEED,
                   example=_encoded(model, texts[:16]))
    books.train((_encoded(model, texts), None), steps=200, batch=8, objective=None, seed=SEED, replace_every=25)
    found = TokenCodes.of(books, held)
    labels = century[found.tokens.text][:, None].expand_as(found.tokens.ids).where(found.tokens.real, -200)
    site = books.sites[0]
    table = found.search(PATTERN, n=3).frame()
    return {"books": measure(books, _encoded(model, held)).frame().to_dict("records"),
            "purity": {site: purity(found.codes[site], labels, 256, seed=SEED)}, "labels": "century of the text",
            f"regex {PATTERN}": table.to_dict("records"),
            "examples": [] if table.empty else [
                f"{r.before}[{r.token}]{r.after}" for r in
                found.examples(*table.loc[0, ["site", "group", "code"]], n=5).itertuples()]}


def _encoded(model: Any, texts: list[str]) -> dict[str, Tensor]:
    coded = model.tokenizer(texts, truncation=True, max_length=96, padding=True, return_tensors="pt")
    return {"input_ids": coded["input_ids"], "attention_mask": coded["attention_mask"]}


CELLS = {
    "digits-vit": vit,
    "looped": lambda: on_machine("looped", {"d_model": 64}, 2000, "blocks.*.hook_mlp_out", 500),
    "mamba": lambda: on_machine("mamba", {"d_model": 32, "n_layers": 2}, 2000, "blocks.*.hook_mixer_out", 500),
    "minilm-l6": minilm,
}


def cell(model: str) -> dict[str, Any]:
    """One model."""
    began = time.process_time()
    found = {"seed": SEED} | CELLS[model]()
    print(model, flush=True)
    return found | {"cpu_seconds": round(time.process_time() - began, 1)}


def main() -> None:
    """Measure what is missing, and write all that is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=Path, required=True, help="a JSON lines file that is continued")
    given, before = parser.parse_args(), conditions()
    torch.set_num_threads(1)
    write("codebook_architectures", before, list(measured(given.cells, [{"model": name} for name in CELLS], cell)))


if __name__ == "__main__":
    main()
