"""Codebooks on TokFSM, the small setting: 25 states of two base-5 digits, a 2-layer GPT.

For each seed: a base model, then finetuned with one book per head, and with books on heads and MLPs, k = 1 and
replacement. What is measured: state accuracy; codes as detectors of states beside neurons, a linear probe, PCA,
k-means, a sparse autoencoder, random hashing and shuffled labels, chosen on half of the held-out sequences and scored
on the other; codes patched from one state into another; code circuits against true interventions; stability across
seeds. Some seven CPU minutes a seed. Run: python -m benchmarks.tokfsm --folder DIR [--seeds 0 1 2] (models in DIR are
not made again, and neither are the seeds that DIR/cells.jsonl holds)
"""

import argparse
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Generator, Tensor

import interp
from benchmarks.cells import finite, measured
from benchmarks.record import conditions, write
from interp.codebook import load
from interp.codebook.books import Books, attach
from interp.codebook.circuits import code_circuit, commonest, suppressed
from interp.codebook.classify import neurons
from interp.codebook.comparison import compare, means
from interp.codebook.files import FACTS
from interp.codebook.measures import measure
from interp.codebook.seeds import stability
from interp.garden.recipe import Batch, Recipe
from interp.garden.train import fit
from interp.hooks import HookedModel
from interp.results.estimate import bootstrap_ratio
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(n_states=25, n_edges=5, base=5, seed=0)
LENGTH, ROWS, STEPS, RATE = 32, 64, 1500, 1e-3
HEADS, MLPS = "blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"
PLACES = {"heads": (HEADS, 100), "heads and MLPs": ([HEADS, MLPS], 500)}
HELD_OUT, PAIRS, CIRCUIT_ROWS, CIRCUIT_CODES = 256, 400, 16, 6


def draw(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Tokens and next tokens, [row, LENGTH]."""
    return FSM.batch(rows, LENGTH, generator)


def base(seed: int) -> HookedModel:
    """A GPT trained on the machine, without books."""
    sizes = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_vocab": FSM.base + 1, "n_ctx": LENGTH}
    recipe = Recipe(name="tokfsm-25", about="", architecture="gpt", sizes=sizes, steps=STEPS, batch=ROWS, rate=RATE,
                    data=lambda rows, generator: Batch(*draw(rows, generator)), metrics=lambda model: {})
    return fit(recipe, seed=seed)


def trained(folder: Path, seed: int, name: str) -> Books:
    """The books of one seed and setting on their own model, made or read."""
    root, (sites, n_codes) = folder / f"seed-{seed}", PLACES[name]
    if not (root / "base").exists():
        base(seed).save(root / "base")
    model, place = interp.load(str(root / "base")), root / name.replace(" ", "-")
    if (place / FACTS).exists():
        return load(place, model)
    books = attach(model, sites, n_codes=n_codes, k=1, pre_norm="layer", seed=seed)
    books.train(draw, steps=STEPS, batch=ROWS, rate=RATE, model_rate=RATE, seed=seed + 1)
    books.save(place)
    return books


def facts(books: Books, held: tuple[Tensor, Tensor], seed: int) -> dict:
    """What the model with these books reaches."""
    use = measure(books, *held)
    with books.model.edit(books):
        inside = FSM.state_accuracy(books.model, seed=seed)
    with books.untrained() as model:
        outside = FSM.state_accuracy(model, seed=seed)
    return {"state accuracy": inside.to_dict(), "of the base": outside.to_dict(),
            "scores": {k: v.to_dict() for k, v in use.scores.items()},
            "books": use.frame().to_dict("records")}


def rivals(books: Books, x: Tensor, seed: int) -> pd.DataFrame:
    """Codes and rivals as detectors of states."""
    fit_on = draw(256, Generator().manual_seed(seed))[0]
    return compare(books, fit_on, x, FSM.labels(x), select=torch.arange(len(x)) % 2 == 0, seed=seed).frame()


def all_neurons(folder: Path, seed: int) -> dict:
    """Mean held-out precision and recall of the best single neuron of each state, of all layers of the base model: what
    attention and MLPs write and the MLPs' hidden units, not the compared site's own units alone."""
    model = interp.load(str(folder / f"seed-{seed}" / "base"))
    x = draw(HELD_OUT, Generator().manual_seed(10**6 + seed))[0]
    cache = model.read(x, ["blocks.*.hook_attn_out", "blocks.*.hook_mlp_out", "blocks.*.mlp.hook_post"])
    values, rows = torch.cat(list(cache.values()), -1), []
    for recall in (0.25, 0.5, 0.9):
        found = neurons(values, FSM.labels(x), dict.fromkeys(range(FSM.n_states), recall),
                        select=torch.arange(len(x)) % 2 == 0)
        precision, reached = torch.tensor(list(found.values())).mean(0).tolist()
        rows.append({"asked recall": recall, "recall": reached, "precision": precision, "units": values.shape[-1]})
    return {"all neurons": rows}


def patched(books: Books, seed: int) -> dict:
    """Jensen-Shannon divergence from the run on b when b's state codes are put into the run on a, over that of a."""
    generator = Generator().manual_seed(seed + 7)
    a, b = (FSM.write(FSM.states(PAIRS, 8, generator)) for _ in range(2))
    differ = (FSM.read(a)[:, -1] != FSM.read(b)[:, -1]).nonzero()[:, 0]
    a, b = a[differ], b[differ]
    codes = books.codes(b)
    wanted, other = (books(x)[:, -1].softmax(-1).detach() for x in (b, a))
    apart = jensen_shannon(wanted, other)
    found = {}
    mlps = [site for site in codes if site.endswith("mlp_out")]
    for name, sites in {"MLP codes": mlps, "head codes": [s for s in codes if s not in mlps], "all": codes}.items():
        edited = books
        for site in sites:
            edited = edited.put(site, codes[site], pos=slice(-FSM.digits, None))
        with books.model.edit(edited):
            near = books.model(a)[:, -1].softmax(-1).detach()
        found[name] = bootstrap_ratio(jensen_shannon(wanted, near), apart, unit="pairs of states").to_dict()
    return found


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Divergence of distributions [..., n], nats."""
    middle = (p + q) / 2
    return sum((v * (v.clamp(min=1e-12).log() - middle.clamp(min=1e-12).log())).sum(-1) for v in (p, q)) / 2


def circuits(books: Books, x: Tensor) -> list[dict]:
    """How well each rule set says which code writes which, against codes that were suppressed in truth."""
    sources = [code for site in books.sites[:-1] for code in commonest(books, x, site, CIRCUIT_CODES)]
    targets = [code for site in books.sites[1:] for code in commonest(books, x, site, CIRCUIT_CODES)]
    truths = {"held": suppressed(books, x, sources, targets, held=True).frame()["effect"],
              "free": suppressed(books, x, sources, targets).frame()["effect"]}
    rows = []
    for rules in ("ablation", "cdt", "tangent"):
        for through in ("held", "straight"):
            found = code_circuit(books, x, sources, targets, rules=rules, through=through).frame()["effect"]
            row = {"rules": rules, "through": through, "edges": len(found)}
            for name, truth in truths.items():
                row |= {f"r with {name}": float(found.corr(truth)),
                        f"rank with {name}": float(found.corr(truth, method="spearman")),
                        f"largest difference, {name}": float((found - truth).abs().max())}
            rows.append(row)
    return rows


def stable(all_books: list[Books], x: Tensor) -> list[dict]:
    """Stability of the codes of every pair of seeds, by site."""
    codes = [books.codes(x) for books in all_books]
    return [{"seeds": [a, b], "site": site} | stability(codes[a][site], codes[b][site])
            for a in range(len(codes)) for b in range(len(codes)) if a != b for site in codes[a]]


def setting(folder: Path, name: str, seed: int) -> dict:
    """Everything about one setting and seed."""
    books, held = trained(folder, seed, name), draw(HELD_OUT, Generator().manual_seed(10**6 + seed))
    found = facts(books, held, seed) | {"rivals": rivals(books, held[0], seed).to_dict("records")}
    if name != "heads":
        found |= {"patched": patched(books, seed), "circuits": circuits(books, held[0][:CIRCUIT_ROWS])}
    print(name, seed, found["state accuracy"]["value"], flush=True)
    return found


def main() -> None:
    """All seeds, then what is between them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True, help="where models and finished seeds are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    before, kept = conditions(), given.folder / "cells.jsonl"
    keys = [{"name": name, "seed": seed} for seed in given.seeds for name in PLACES]
    cells = list(measured(kept, keys, partial(setting, given.folder)))
    x = draw(256, Generator().manual_seed(10**6))[0]
    between = measured(kept, [{"stability of": given.seeds}], lambda **_: {
        "stability": stable([trained(given.folder, seed, "heads and MLPs") for seed in given.seeds], x)})
    single = measured(kept, [{"neurons of seed": seed} for seed in given.seeds],
                      lambda **key: all_neurons(given.folder, key["neurons of seed"]))
    tables = [{"rivals of": name, "seeds": given.seeds, "rows": finite(means([
        pd.DataFrame(cell["rivals"]) for cell in cells if cell["key"]["name"] == name]).to_dict("records"))}
        for name in PLACES]
    write("tokfsm", before, [*cells, *single, *between, *tables])


if __name__ == "__main__":
    main()
