"""Do later depths go on from what stands in the stream? An iterate put in its place, by the read-out's direction.

At one depth l, matched with step j, the stream at every x_k is moved along the read-out's direction, no further than
needed, by what takes the iterate a_j to that of another step, a_s. What a later read-out m, matched with step i, then
says can move in three ways, and each predicts a shift (c_i is the scale at which it shows its iterate):

    continued   c_i (a_s' - a_i)    the algorithm goes on from a_s: s' = s + i - j steps, at least 0
    carried     c_i (a_s - a_j)     the change is passed on unread
    recomputed  0                   later depths work from the examples anew

The distance of each is the squared difference to the observed shift, over the squared change that was put in. The
nearest of the three is named where its distance is below both others' (95 % intervals over prompts), else none is.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.hooks import HookedModel, Patch
from interp.icl.families import Family
from interp.icl.readouts import Readouts, streams, tokens_of
from interp.lens.stream import points
from interp.results import plots
from interp.results.errors import BadInput
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.tasks.functions import Episodes

if TYPE_CHECKING:
    import plotly.graph_objects as go

WAYS = ("continued", "carried", "recomputed")


@dataclass(frozen=True, eq=False)
class Swap:
    """`misses[way]` [later depth, prompt] summed squared differences of the observed to the predicted shift, `size`
    [prompt] the squared change put in, `moved` [later depth, prompt] the product of shift and change; `later` are depth
    points, `put` the step put in at `depth` in place of `found`."""

    model: str
    family: str
    depth: int
    found: int
    put: int
    later: list[int]
    misses: dict[str, np.ndarray]
    moved: np.ndarray
    size: np.ndarray
    seed: int

    def distance(self, way: str, depth: int) -> Estimate:
        """Squared miss of a prediction over the squared change: 0 is exact."""
        return bootstrap_ratio(self.misses[way][self.later.index(depth)], self.size, seed=self.seed)

    def kept(self, depth: int) -> Estimate:
        """Share of the change that a later read-out shows: 1 carried, 0 gone."""
        return bootstrap_ratio(self.moved[self.later.index(depth)], self.size, seed=self.seed)

    def way(self, depth: int) -> str:
        """The way whose prediction is nearest, or "undecided"."""
        row = {way: table[self.later.index(depth)] / self.size.mean() for way, table in self.misses.items()}
        best = min(row, key=lambda way: row[way].mean())
        sure = all(bootstrap_mean(row[way] - row[best], seed=self.seed).low > 0 for way in row if way != best)
        return best if sure else "undecided"

    def frame(self) -> pd.DataFrame:
        """One row a later depth: the share kept, the distance of every prediction, and the nearest."""
        rows = []
        for depth in self.later:
            kept = self.kept(depth)
            row = {"swapped_at": self.depth, "read_at": depth, "kept": kept.value, "low": kept.low, "high": kept.high}
            rows.append(row | {way: self.distance(way, depth).value for way in WAYS} | {"nearest": self.way(depth)})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "family": self.family, "found": self.found, "put": self.put,
                        "seed": self.seed}
        return frame

    def figure(self) -> "go.Figure":
        """Distances of the three predictions by depth."""
        figure = None
        for way in WAYS:
            rows = [self.distance(way, depth) for depth in self.later]
            figure = plots.curve_with_band(
                self.later, [e.value for e in rows], [e.low for e in rows], [e.high for e in rows], name=way,
                title=f"{self.model}: step {self.put} of {self.family} put in at depth {self.depth}",
                x_title="read at depth", y_title="squared miss / squared change", figure=figure)
        return figure

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views(f"swap_{self.depth}", self)


def swap(
    model: HookedModel, readouts: Readouts, family: Family, steps: np.ndarray, depth: int, put: int, episodes: Episodes,
    seed: int = 0,
) -> Swap:
    """Iterate `put` of a fitted family in place of the one that a depth point was matched with, and what follows.

    `put` and `steps` [depth], what the depths were matched with (`Matching.step`), are indices into `family.steps`.
    Raises BadInput for the last depth, a step that the family does not have, and the step that is there already.
    """
    sites = points(model)
    if not 0 <= depth < len(sites) - 1:
        raise BadInput(f"depth {depth} has no depth behind it: {model.name} has depth points 0 to {len(sites) - 1}")
    iterates, scale = family.iterates(episodes.xs, episodes.ys), family.scale
    here = int(steps[depth])
    later = list(range(depth + 1, len(sites)))
    if not 0 <= put < len(iterates) or put == here:
        raise BadInput(f"index {put} was to be put in at depth {depth}, which has index {here}; {family.name} has 0 to "
                       f"{len(iterates) - 1}, and another one is needed")
    number = family.steps  # they are not evenly spaced: going on is counted in steps, not in places of the list
    goes_on = family.at([max(0, number[put] + number[int(steps[m])] - number[here]) for m in later],
                        episodes.xs, episodes.ys)
    plain = streams(model, episodes.xs, episodes.ys, sites[depth:])
    before = readouts.of(plain, depth)
    change = scale[here] * (iterates[put] - iterates[here])
    after = readouts.of(_moved(model, readouts, depth, plain[0], change, episodes), depth)
    k = slice(1, None)  # before the first example every step says 0
    shift = (after - before)[1:]
    at = [int(steps[m]) for m in later]
    c = scale[at][:, None, None]
    said = {"continued": c * (goes_on - iterates[at]), "carried": c * (iterates[put] - iterates[here]),
            "recomputed": torch.zeros_like(shift)}
    misses = {way: (shift - predicted)[..., k].square().sum(-1).numpy() for way, predicted in said.items()}
    return Swap(model.name, family.name, depth, family.steps[here], family.steps[put], later, misses,
                (shift * change)[..., k].sum(-1).numpy(), change[..., k].square().sum(-1).numpy(), seed)


def _moved(model: HookedModel, readouts: Readouts, depth: int, stream: Tensor, change: Tensor, episodes: Episodes
           ) -> list[Tensor]:
    """Streams from a depth on, with the stream there moved so that its read-out changes by `change`."""
    direction = readouts.maps[depth].weight[:, 0]
    moved = stream.double().clone()
    moved[:, ::2] += change[..., None] * direction / direction.square().sum()
    site = points(model)[depth]
    with model.edit(Patch(site, moved.to(stream.dtype))):
        cache = model.read(tokens_of(model, episodes.xs, episodes.ys), points(model)[depth:])
    return [cache[name] for name in points(model)[depth:]]
