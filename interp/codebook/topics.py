"""What texts are about: codes that are active on a share of a row's tokens, not on single words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.codebook.classify import PADDING, count
from interp.codebook.tokens import NOWHERE
from interp.results.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from interp.codebook.search import TokenCodes

ROWS = 256
SHARES = 2**22  # at once: 16 MB


def unlabelled(real: Bool[Tensor, "row pos"]) -> Int[Tensor, "row pos"]:
    """Labels for counting activations alone: none, and padding where a token is not meant."""
    return torch.full(real.shape, NOWHERE).where(real, PADDING)


def shares(
    found: "TokenCodes", site: str, rows: Tensor | None = None, groups: slice = slice(None)
) -> Float[Tensor, "row group code"]:
    """The share of each row's tokens on which each code is active; `rows` are numbers of rows, None all of them."""
    rows = torch.arange(len(found.tokens)) if rows is None else rows
    codes, n = found.codes[site][:, :, groups], found.n_codes[site]
    width, parts = codes.shape[2], []
    for some in rows.split(ROWS):
        ids, real = codes[some].long(), found.tokens.real[some]
        place = torch.arange(len(some))[:, None, None, None] * width + torch.arange(width)[:, None]
        flat = (place * n + ids)[(ids >= 0) & real[..., None, None]]
        counts = torch.bincount(flat, minlength=len(some) * width * n).view(len(some), width, n)
        parts.append(counts / real.sum(1).clamp(min=1)[:, None, None])
    return torch.cat(parts)


def topics(found: "TokenCodes", row: int, share: float = 0.5) -> "pd.DataFrame":
    """Codes that are active on at least `share` of a row's tokens: what it may be about.

    `everywhere` is the share of all tokens on which the code is active: a topic is rarer there than here.
    Raises BadInput for a row that is not there.
    """
    import pandas as pd

    if not 0 <= row < len(found.tokens):
        raise BadInput(f"row {row} was asked for; there are rows 0 to {len(found.tokens) - 1}")
    rows = []
    for site in found.codes:
        here = shares(found, site, torch.tensor([row]))[0]
        named = (here >= share).nonzero().tolist()
        everywhere = _everywhere(found, site) if named else here
        for group, code in named:
            rows.append({"site": site, "group": group, "code": code, "share": float(here[group, code]),
                         "everywhere": float(everywhere[group, code])})
    return pd.DataFrame(rows, columns=["site", "group", "code", "share", "everywhere"]).sort_values(
        "share", ascending=False, kind="stable", ignore_index=True)


def _everywhere(found: "TokenCodes", site: str) -> Float[Tensor, "group code"]:
    counts = count(found.codes[site], unlabelled(found.tokens.real), 1, found.n_codes[site])
    return counts.active / found.tokens.real.sum()


def topic(
    found: "TokenCodes", pattern: str, *, words: bool = True, least: int = 1, n: int = 20,
    sites: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """The n codes that tell rows in which a pattern occurs at least `least` times from other rows, by the share of
    tokens on which they are active. Matching tokens themselves and their places do not matter.

    A row per code: `share` there and `other` elsewhere, and `auc`, the chance that a row with the topic has the larger
    share, on rows that it was not chosen on; `selected_auc` on those it was.
    Raises BadInput for a pattern that does not occur on both halves, or occurs in all rows of one, MissingSite for a
    site without codes.
    """
    import pandas as pd

    about = found.tokens.matches(pattern, words=words).sum(1) >= least
    for half in (found.select, ~found.select):
        if not about[half].any() or about[half].all():
            raise BadInput(f"{pattern!r} occurs in {int(about[half].sum())} of {int(half.sum())} rows of one half: "
                           "some, and not all, are needed on both; give more texts, or another pattern")
    held, rows = ~found.select, []
    for site in found.chosen(sites):
        width = max(1, SHARES // (len(found.tokens) * found.n_codes[site]))
        for start in range(0, found.codes[site].shape[2], width):  # in parts: shares may be larger than memory
            own = shares(found, site, groups=slice(start, start + width))
            here, there = (_auc(own[half], about[half]) for half in (found.select, held))
            for i in here.flatten().argsort(descending=True, stable=True)[:n].tolist():
                group, code = divmod(i, found.n_codes[site])
                rows.append({"site": site, "group": start + group, "code": code, "auc": float(there[group, code]),
                             "share": float(own[held & about, group, code].mean()),
                             "other": float(own[held & ~about, group, code].mean()),
                             "selected_auc": float(here[group, code])})
    return pd.DataFrame(rows).sort_values("selected_auc", ascending=False, kind="stable", ignore_index=True).head(n)


def _auc(values: Float[Tensor, "row group code"], true: Tensor) -> Float[Tensor, "group code"]:
    """Chance that a true row has the larger value, ties counted as a half."""
    positive, negative = values[true], values[~true].sort(0)[0]
    flat = negative.flatten(1).T.contiguous()
    wanted = positive.flatten(1).T.contiguous()
    below = torch.searchsorted(flat, wanted) + torch.searchsorted(flat, wanted, right=True)
    return (below.double().mean(1) / (2 * len(negative))).view(values.shape[1:])
