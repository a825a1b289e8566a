"""A byte n-gram model with Witten-Bell interpolation (Witten & Bell 1991): what counting alone can do with a text.

    p(b | c) = (count(c b) + kinds(c) p(b | c')) / (count(c) + kinds(c)),  c' = c without its first byte

Contexts of up to six bytes fit into an integer with the byte that follows, so that counts are sorted arrays.
"""

import numpy as np
from numpy.typing import NDArray

from interp.results.errors import BadInput


def bits_per_byte(train: bytes, held_out: bytes, order: int = 5) -> float:
    """Mean bits per byte of `held_out` under the model counted on `train`, with contexts of up to `order` bytes.

    Raises BadInput for an order that is not 0 to 6, or for texts that are not longer than it.
    """
    if not 0 <= order <= 6 or min(len(train), len(held_out)) <= order:
        raise BadInput(f"contexts of {order} bytes: 0 to 6 are possible, and both texts must be longer")
    seen, asked = (np.frombuffer(text, np.uint8).astype(np.int64) for text in (train, held_out))
    probability = np.full(len(asked), 1 / 256)
    for length in range(order + 1):
        probability[length:] = _refine(seen, asked, length, probability[length:])
    return float(-np.log2(probability).mean())


def _refine(seen: NDArray, asked: NDArray, length: int, lower: NDArray) -> NDArray:
    """Probabilities with contexts of `length` bytes, from those with one byte less."""
    whole, counts = np.unique(_codes(seen, length + 1), return_counts=True)
    contexts, first = np.unique(whole >> 8, return_index=True)
    totals = np.add.reduceat(counts, first)
    kinds = np.diff(np.append(first, len(whole)))
    wanted = _codes(asked, length + 1)
    count = _look_up(whole, counts, wanted)
    total, kind = (_look_up(contexts, table, wanted >> 8) for table in (totals, kinds))
    known = total > 0
    return np.where(known, (count + kind * lower) / np.maximum(total + kind, 1), lower)


def _codes(text: NDArray, length: int) -> NDArray:
    """Every run of `length` bytes as one integer, the last byte lowest."""
    codes = np.zeros(len(text) - length + 1, np.int64)
    for i in range(length):
        codes = (codes << 8) | text[i : len(text) - length + 1 + i]
    return codes


def _look_up(keys: NDArray, values: NDArray, wanted: NDArray) -> NDArray:
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
