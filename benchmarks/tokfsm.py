"""Codebooks on TokFSM, the small setting: 25 states of two base-5 digits, a 2-layer GPT, in four CPU minutes.

Base model, then finetuned with one book per head, then with books on heads and MLPs, k = 1 and replacement. State codes
are chosen on half of the held-out sequences and scored on the other half, beside single neurons, k-means books without
training, and shuffled labels. Run: python -m benchmarks.tokfsm [SEED]
"""

import sys
import time

import torch
from torch import Generator, Tensor

from benchmarks.record import conditions, write
from interp.codebook.books import Books, attach
from interp.codebook.classify import detectors, neurons, purity
from interp.codebook.measures import measure
from interp.garden.recipe import Batch, Recipe
from interp.garden.train import fit
from interp.hooks import HookedModel
from interp.results.estimate import bootstrap_ratio
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(n_states=25, n_edges=5, base=5, seed=0)
LENGTH, ROWS, STEPS, RATE = 32, 64, 1500, 1e-3
HEADS, MLPS = "blocks.*.attn.hook_z", "blocks.*.hook_mlp_out"
HELD_OUT = 512
PAIRS = 400


def draw(rows: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Tokens and next tokens, [row, LENGTH]."""
    return FSM.batch(rows, LENGTH, generator)


def base(seed: int) -> HookedModel:
    """A GPT trained on the machine, without books."""
    sizes = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_vocab": FSM.base + 1, "n_ctx": LENGTH}
    recipe = Recipe(name="tokfsm-25", about="", architecture="gpt", sizes=sizes, steps=STEPS, batch=ROWS, rate=RATE,
                    data=lambda rows, generator: Batch(*draw(rows, generator)), metrics=lambda model: {})
    return fit(recipe, seed=seed)


def facts(books: Books, held: tuple[Tensor, Tensor], seed: int) -> dict:
    """What the model with these books reaches, and what its codes detect."""
    x, targets = held
    measured = measure(books, x, targets)
    codes, labels, select = books.codes(x), FSM.labels(x), torch.arange(len(x)) % 2 == 0
    with books.model.edit(books):
        accuracy = FSM.state_accuracy(books.model, seed=seed)
    found = {"state accuracy": accuracy.to_dict(), "scores": {k: v.to_dict() for k, v in measured.scores.items()},
             "books": measured.frame().to_dict("records")}
    for kind, site_codes in _by_size(books, codes).items():
        best = detectors(site_codes, labels, kind, select=select)
        found.setdefault("state codes", []).extend(best.means().to_dict("records"))
        for site, ids in site_codes.items():
            found.setdefault("purity", {})[site] = purity(ids, labels, kind, seed=seed)
        order = torch.randperm(int((labels >= 0).sum()), generator=Generator().manual_seed(seed))
        shuffled = labels.masked_scatter(labels >= 0, labels[labels >= 0][order])
        null = detectors(site_codes, shuffled, kind, select=select).means()
        found.setdefault("shuffled labels", []).extend(null.to_dict("records"))
    return found


def _by_size(books: Books, codes: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    sizes: dict[int, dict[str, Tensor]] = {}
    for site, ids in codes.items():
        sizes.setdefault(books.of(site).n_codes, {})[site] = ids
    return sizes


def best_neurons(model: HookedModel, x: Tensor, recall: float) -> dict[str, float]:
    """Mean held-out precision and recall of the best single neuron of each state, at one recall on the selection."""
    cache = model.read(x, ["blocks.*.hook_attn_out", "blocks.*.hook_mlp_out", "blocks.*.mlp.hook_post"])
    found = neurons(torch.cat(list(cache.values()), -1), FSM.labels(x), dict.fromkeys(range(FSM.n_states), recall),
                    select=torch.arange(len(x)) % 2 == 0)
    precision, found_recall = torch.tensor(list(found.values())).mean(0).tolist()
    return {"precision": precision, "recall": found_recall, "asked recall": recall}


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


def main(seed: int = 0) -> dict:
    """All of it; prints as it goes."""
    torch.set_num_threads(1)
    before, began, found = conditions(), time.process_time(), {"seed": seed}
    held = draw(HELD_OUT, Generator().manual_seed(10**6 + seed))

    def tell(name: str, value: dict) -> None:
        found[name] = value | {"cpu_seconds": round(time.process_time() - began, 1)}
        print(name, found[name], flush=True)

    model = base(seed)
    start = {"state accuracy": FSM.state_accuracy(model, seed=seed).to_dict()}
    tell("base", start | {"neurons": [best_neurons(model, held[0], r) for r in (0.25, 0.5, 0.9)]})
    sample = draw(256, Generator().manual_seed(seed))[0]
    tell("k-means books, untrained", facts(attach(model, MLPS, n_codes=500, k=1, init="kmeans", example=sample), held,
                                           seed))
    for name, sites, n_codes in (("heads", HEADS, 100), ("heads and MLPs", [HEADS, MLPS], 500)):
        books = attach(model, sites, n_codes=n_codes, k=1, pre_norm="layer", seed=seed)
        training = books.train(draw, steps=STEPS, batch=ROWS, rate=RATE, model_rate=RATE, seed=seed + 1)
        more = {"training CPU s": round(training.seconds, 1), "replaced": training.replaced}
        tell(name, facts(books, held, seed) | more | ({"patched": patched(books, seed)} if n_codes == 500 else {}))
        books.detach()
    write("tokfsm", before, [found])
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
