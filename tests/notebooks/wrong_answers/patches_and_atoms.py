"""Wrong answers to notebook 14: checking function -> arguments that it must reject."""

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr

import interp


def _paint(pixels, place, value=-1.0, across=False, copy=True):
    row, column = divmod(place, 4)
    row, column = (column, row) if across else (row, column)
    found = pixels.clone() if copy else pixels
    found[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = value
    return found


def _everywhere(pattern, products, reactants):
    return [(product, int(pattern[product].argmax())) for product in products]


def _other_way(pattern, products, reactants):
    best = pattern[reactants][:, products].argmax(0)
    return [(product, reactants[i]) for product, i in zip(products, best.tolist())]


def _unnumbered(pattern, products, reactants):
    return list(zip(products, pattern[products][:, reactants].argmax(1).tolist()))


WRONG = {
    "painted": [
        (lambda pixels, place: _paint(pixels, place, 0.0),),  # gray
        (lambda pixels, place: _paint(pixels, place, across=True),),  # column by column
        (lambda pixels, place: _paint(pixels, place, copy=False),),
    ],
    "agreement": [
        (lambda score, effect: np.array([pearsonr(a, b).statistic for a, b in zip(score.T, effect.T)]),),
        (lambda score, effect: np.array([spearmanr(a, b).statistic for a, b in zip(score, effect)]),),
        (lambda score, effect: spearmanr(score.ravel(), effect.ravel()).statistic,),
    ],
    "atom_map": [(_everywhere,), (_other_way,), (_unnumbered,)],
    "visits": [
        (lambda depths: [[interp.Source(f"blocks.{d}.attn.hook_z", head=h) for h in range(8)] for d in depths],),
        (lambda depths: [[interp.Source("blocks.0.attn.hook_z", head=h)] for h in range(8)],),
        (lambda depths: [[interp.Source(f"blocks.{d}.attn.hook_z", head=torch.tensor(5).item()) for d in depths]] * 8,),
    ],
}
