"""Blind detection: can one who has seen only a code's best contexts tell where else it is active?

The reader is a rule, not a person or a language model, so that a number can be had again: naive Bayes on the token
itself, the two before it, and the tokens of a window, counted on the contexts shown. It sees one half of the texts, and
is asked about the other. It knows words and places, not meanings: what it cannot tell, a person sometimes could.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from interp.codebook.classify import count
from interp.codebook.search import TokenCodes
from interp.codebook.topics import unlabelled
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress

if TYPE_CHECKING:
    import pandas as pd

WINDOW = 8  # tokens before, the token itself not counted
PLACES = 3  # the token and those before it that are read by their place
SMOOTHING = 1.0  # how many contexts the background counts for


class Context(NamedTuple):
    """Rows and positions of tokens."""

    row: Tensor
    pos: Tensor


@dataclass(frozen=True)
class Blind:
    """`table` has a row per code, in order of `auc`: the chance that the reader finds a held-out token where the code
    is active more like the shown contexts than one where it is not (0.5: cannot tell). `mean` is over codes, `chance`
    what the same reader reaches when what it is shown are random contexts; `eligible` of `live` codes are active often
    enough, and not on every held-out token, so that they can be asked about."""

    table: "pd.DataFrame"
    mean: Estimate
    chance: Estimate
    eligible: int
    live: int

    def frame(self) -> "pd.DataFrame":
        return self.table

    def figure(self):
        """The distribution over codes."""
        import plotly.graph_objects as go

        from interp.results.plots import styled

        figure = go.Figure(go.Histogram(x=self.table["auc"], xbins={"start": 0, "end": 1, "size": 0.05}))
        return styled(figure, title=f"Blind detection of {len(self.table)} codes", x_title="AUC, held out",
                      y_title="codes")

    def save(self, run) -> None:
        """Table, figure and means into a run, as "blind"."""
        run.save_views("blind", self)
        run.record(blind=self.mean.to_dict(), blind_chance=self.chance.to_dict())


def blind(
    found: TokenCodes, *, n: int = 100, shown: int = 10, asked: int = 20, seed: int = 0, least: int = 10
) -> Blind:
    """Score `n` random codes, of all that are active on `least` tokens of both halves (1 or more) and not on all of
    the held-out ones: `shown` contexts in which they are most similar, and `asked` held-out ones of each kind.

    Raises BadInput where there is no such code.
    """
    import pandas as pd

    codes, live = _eligible(found, max(least, 1))
    if not codes:
        raise BadInput(f"no code is active on {least} tokens of both halves, but not on all: give more texts, or a "
                       "lower least")
    generator = Generator().manual_seed(seed)
    picked = [codes[i] for i in torch.randperm(len(codes), generator=generator)[:n].tolist()]
    background = _background(found)
    rows, chance = [], []
    for site, group, code in progress(picked, "reading blind"):
        active = ((found.codes[site][:, :, group] == code) & found.tokens.real[..., None])
        first = active.int().argmax(-1).where(active.any(-1), 99)  # the slot it is in: 0 is the most similar
        active = active.any(-1)
        best = _draw(active & found.select[:, None], shown, generator, first)
        told = [_draw(mask & ~found.select[:, None], asked, generator)
                for mask in (active, ~active & found.tokens.real)]
        rows.append({"site": site, "group": group, "code": code,
                     "auc": _auc(*(_likeness(found, best, part, background) for part in told)),
                     "share": float(active.sum() / found.tokens.real.sum()),
                     "shown": [_text(found, int(r), int(p)) for r, p in zip(*best)]})
        random = _draw(found.tokens.real & found.select[:, None], shown, generator)
        chance.append(_auc(*(_likeness(found, random, part, background) for part in told)))
    table = pd.DataFrame(rows).sort_values("auc", ascending=False, kind="stable", ignore_index=True)
    return Blind(table, bootstrap_mean(torch.tensor(table["auc"].to_list()), unit="codes"),
                 bootstrap_mean(torch.tensor(chance), unit="codes"), len(codes), live)


def _eligible(found: TokenCodes, least: int) -> tuple[list[tuple[str, int, int]], int]:
    codes, live = [], 0
    asked = int((found.tokens.real & ~found.select[:, None]).sum())
    for site, n in found.n_codes.items():
        both = [count(found.codes[site], unlabelled(found.tokens.real & half[:, None]), 1, n).active
                for half in (found.select, ~found.select)]
        live += int((sum(both) > 0).sum())
        here, there = both
        codes += [(site, *place) for place in ((here >= least) & (there >= least) & (there < asked)).nonzero().tolist()]
    return codes, live


def _draw(mask: Tensor, n: int, generator: Generator, order: Tensor | None = None) -> Context:
    """n of the tokens of a mask at random; those of a low `order` first."""
    row, pos = mask.nonzero(as_tuple=True)
    shuffle = torch.randperm(len(row), generator=generator)
    row, pos = row[shuffle], pos[shuffle]
    if order is not None:
        ranked = order[row, pos].argsort(stable=True)
        row, pos = row[ranked], pos[ranked]
    return Context(row[:n], pos[:n])


def _background(found: TokenCodes) -> Float[Tensor, " token"]:
    """How common each token is in the half that is shown."""
    ids = found.tokens.ids[found.select][found.tokens.real[found.select]]
    counts = torch.bincount(ids, minlength=int(found.tokens.ids.max()) + 1).double() + 1
    return counts / counts.sum()


def _around(found: TokenCodes, at: Context) -> Int[Tensor, "context offset"]:
    """Tokens at and before a place, -1 where there is none."""
    pos = at.pos[:, None] - torch.arange(WINDOW + 1)
    ids = found.tokens.ids[at.row[:, None], pos.clamp(min=0)]
    return ids.where((pos >= 0) & found.tokens.real[at.row[:, None], pos.clamp(min=0)], -1)


def _likeness(found: TokenCodes, shown: Context, asked: Context, background: Tensor) -> Float[Tensor, " context"]:
    """Log odds of each asked context under what was shown against the background."""
    seen, given = _around(found, shown), _around(found, asked)
    odds = torch.zeros(len(given), dtype=torch.double)
    for place in range(PLACES):
        odds += _log_odds(seen[:, place], given[:, place], background)
    return odds + _log_odds(seen[:, PLACES:].flatten(), given[:, PLACES:], background).view(len(given), -1).mean(1)


def _log_odds(seen: Tensor, given: Tensor, background: Tensor) -> Tensor:
    seen = seen[seen >= 0]
    counts = torch.bincount(seen, minlength=len(background)).double()
    odds = ((counts + SMOOTHING * background) / (len(seen) + SMOOTHING) / background).log()
    return odds[given.clamp(min=0)].where(given >= 0, 0.0)


def _auc(positive: Tensor, negative: Tensor) -> float:
    above = (positive[:, None] > negative).double() + 0.5 * (positive[:, None] == negative).double()
    return float(above.mean())


def _text(found: TokenCodes, row: int, pos: int) -> str:
    before, token, after = found.tokens.around(row, pos, 40)
    return f"{before}[{token}]{after[:15]}".replace("\n", " ")
