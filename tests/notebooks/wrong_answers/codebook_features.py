"""Wrong answers to notebook 09: checking function -> arguments that it must reject."""

from functools import cache

import torch

import interp
from interp.codebook import attach
from interp.tasks.tokfsm import TokFSM

FSM = TokFSM(n_states=25, n_edges=5, base=5, seed=0)


@cache
def _books():
    """Books on a model that has learned nothing: enough to tell one edit from another."""
    model = interp.build("gpt", d_model=32, n_layers=2, n_heads=2, d_vocab=6, n_ctx=32, seed=0)
    return attach(model, "blocks.*.hook_mlp_out", n_codes=50, k=1, seed=0)


class _LazyBooks:
    """The books, made when a check first asks for something of them and not when the tests are collected."""

    def __getattr__(self, name):
        return getattr(_books(), name)

    def __call__(self, x):
        return _books()(x)


def _put(books, a, b, sites, *, source=None, pos=slice(-2, None)):
    ids, edited = books.codes(b if source is None else source(a, b)), books
    for site in sites:
        edited = edited.put(site, ids[site], pos=pos)
    with books.model.edit(edited):
        return books.model(a)[:, -1]


def _last_only(books, a, b, sites):
    return _put(books, a, b, sites[-1:])


def _score(ids, labels, code, state, swap=False, rows=slice(None)):
    active, there = (ids == code)[rows], (labels == state)[rows]
    both = (active & there).sum().item()
    found = both / max(active.sum().item(), 1), both / max(there.sum().item(), 1)
    return found[::-1] if swap else found


BOOKS = _LazyBooks()
WRONG = {
    "nearest_code": [
        (lambda vectors, codes: (vectors @ codes.T).argmax(-1),),  # long codes win
        (lambda vectors, codes: torch.cdist(vectors, codes).argmin(-1),),  # distance
        (lambda vectors, codes: (vectors @ codes.T).argmin(-1),),
    ],
    "detects": [
        (lambda ids, labels, code, state: _score(ids, labels, code, state, swap=True),),
        (lambda ids, labels, code, state: (((ids == code) == (labels == state)).float().mean().item(), 1.0),),
        (lambda ids, labels, code, state: _score(ids, labels, code, state, rows=slice(1)),),
    ],
    "with_codes_of": [
        (lambda books, a, b, sites: books(b)[:, -1], BOOKS, FSM),
        (lambda books, a, b, sites: _put(books, a, b, sites, source=lambda a, b: a), BOOKS, FSM),
        (lambda books, a, b, sites: _put(books, a, b, sites, pos=slice(-1, None)), BOOKS, FSM),
        (_last_only, BOOKS, FSM),
    ],
}
