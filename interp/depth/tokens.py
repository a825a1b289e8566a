"""What kind of token stands where, and which carry massive activations.

Massive activations are found by norm: a token whose stream, at some depth, is `MASSIVE` times as long as the median
token's there (Sun et al. 2024, arXiv 2402.17762, who look at single channels; registers of image models: Darcet et al.
2024, arXiv 2309.16588). Types are labels for reading a table, and any labels [batch, pos] may be given instead.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.hooks import HookedModel

MASSIVE = 8.0


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of some prompts: `real` [batch, pos] whether they are any, `types` and `texts` [batch, pos] (numpy,
    text; "" for padding and where there is none)."""

    real: Tensor
    types: np.ndarray
    texts: np.ndarray

    def of_type(self, name: str | None) -> Tensor:
        """Boolean [batch, pos]: real tokens of a type, all of them for None."""
        return self.real if name is None else self.real & torch.from_numpy(self.types == name)

    @property
    def kinds(self) -> list[str]:
        """The types there are, in order of appearance."""
        return list(dict.fromkeys(self.types[self.real.numpy()].tolist()))


def describe_tokens(model: HookedModel, x: Any, real: Tensor, types: Any = None) -> Tokens:
    """What stands at every position of a stream that `x` gives, whose real positions are `real` [batch, pos].

    Text: first, special, delimiter (nothing but punctuation and space), number, word (opens one), inside (goes on with
    one). Images: cls, register, patch. Bare token ids: first, other.
    """
    texts = np.full(real.shape, "", dtype=object)
    if types is not None:
        return Tokens(real, np.where(real.numpy(), np.asarray(types, dtype=object), ""), texts)
    ids = x if isinstance(x, Tensor) else x.get("input_ids")
    if isinstance(ids, Tensor) and ids.shape == real.shape and not ids.is_floating_point():
        texts = _texts(model.tokenizer, ids)
        found = _of_text(model.tokenizer, ids, texts, real)
    else:
        found = np.broadcast_to(_of_image(real.shape[1]), real.shape).astype(object)
    return Tokens(real, np.where(real.numpy(), found, ""), texts)


def _texts(tokenizer: Any, ids: Tensor) -> np.ndarray:
    if tokenizer is None:
        return np.array([[str(i) for i in row] for row in ids.tolist()], dtype=object)
    known: dict[int, str] = {i: tokenizer.decode([i]) for i in set(ids.flatten().tolist())}
    return np.array([[known[i] for i in row] for row in ids.tolist()], dtype=object)


def _of_text(tokenizer: Any, ids: Tensor, texts: np.ndarray, real: Tensor) -> np.ndarray:
    special = set(getattr(tokenizer, "all_special_ids", ()))
    marks = "convert_ids_to_tokens" in dir(tokenizer) and any(
        piece.startswith("##") for piece in tokenizer.convert_ids_to_tokens(sorted(set(ids.flatten().tolist()))))

    def kind(text: str, i: int) -> str:
        if tokenizer is None:
            return "other"
        if i in special:
            return "special"
        bare = text.strip().removeprefix("##")
        if not any(c.isalnum() for c in bare):
            return "delimiter"
        if bare.isdecimal():
            return "number"
        opens = not text.startswith("##") if marks else text[:1].isspace()
        return "word" if opens else "inside"

    found = np.array([[kind(text, i) for text, i in zip(*row, strict=True)]
                      for row in zip(texts, ids.tolist(), strict=True)], dtype=object)
    found[np.arange(len(found)), real.int().argmax(1).numpy()] = "first"
    return found


def _of_image(n_pos: int) -> np.ndarray:
    extra = n_pos - math.isqrt(n_pos) ** 2
    if extra > 8:  # no square grid of patches: a series, nodes of a graph
        return np.array(["first"] + ["other"] * (n_pos - 1), dtype=object)
    return np.array((["cls"] + ["register"] * extra)[: extra] + ["patch"] * (n_pos - extra), dtype=object)


def massive(norms: Tensor, tokens: Tokens, threshold: float = MASSIVE) -> Tensor:
    """Boolean [batch, pos]: tokens that are massive at some depth. `norms` [depth, batch, pos] of the stream."""
    return ((_ratios(norms, tokens) >= threshold) & tokens.real).any(0)


def massive_frame(norms: Tensor, tokens: Tokens, threshold: float = MASSIVE) -> pd.DataFrame:
    """One row a massive token, longest first: where it is, what it is, how many times the median token's norm it has
    at most, at which depth, and over which depths it is massive."""
    ratios = _ratios(norms, tokens)
    rows = []
    for prompt, pos in massive(norms, tokens, threshold).nonzero().tolist():
        own = ratios[:, prompt, pos]
        over = (own >= threshold).nonzero().flatten().tolist()
        rows.append({"prompt": prompt, "position": pos, "token": tokens.texts[prompt, pos],
                     "type": tokens.types[prompt, pos], "times_median": float(own.max()), "at_depth": int(own.argmax()),
                     "from_depth": over[0], "to_depth": over[-1]})
    columns = ["prompt", "position", "token", "type", "times_median", "at_depth", "from_depth", "to_depth"]
    return pd.DataFrame(rows, columns=columns).sort_values("times_median", ascending=False, ignore_index=True)


def _ratios(norms: Tensor, tokens: Tokens) -> Tensor:
    median = norms[:, tokens.real].median(1).values
    return norms / median.clamp(min=1e-9)[:, None, None]
