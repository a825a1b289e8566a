"""Scores of heads by what they look at: every head, every prompt, and how they are read from any mixer.

Scores are read from the softmax pattern. Where a mixer has none (linear attention, state spaces, sigmoids), they are
shares of the absolute mixing matrix of a query, |M[q, k]| / sum_k |M[q, k]|: that is what the mixer stands for in this
run, a row for every head or channel, not attention.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.hooks.sitemap import Block
from interp.results import plots
from interp.results.errors import BadInput, RequiresPattern, nearest
from interp.results.estimate import Estimate, bootstrap_mean
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

Part = tuple[Any, Callable[[Tensor], Float[np.ndarray, "score head row"]]]
"""Some prompts as the model's input, and their scores of a pattern [row, head, query, key]."""


@dataclass(frozen=True, eq=False)
class HeadScores:
    """`values[depth]` [score, head, row]: every score, in the order of `names`, of every head or channel on every
    prompt, 0 to 1.

    `mixing[depth]` says what was read: "softmax", or "share of |mixing|". `uniform[score]` is what a head scores that
    looks at all it can see alike. `absent[depth]` says why a depth has no scores.
    """

    model: str
    names: tuple[str, ...]
    values: dict[int, np.ndarray]
    mixing: dict[int, str]
    uniform: dict[str, float]
    absent: dict[int, str]
    seed: int

    def estimate(self, score: str, depth: int, head: int) -> Estimate:
        """The mean over prompts with its bootstrap interval."""
        return bootstrap_mean(self._of(score, depth)[head], seed=self.seed, draws=500)

    def means(self, score: str, depth: int) -> np.ndarray:
        """[head]: means over prompts."""
        return self._of(score, depth).mean(-1)

    def _of(self, score: str, depth: int) -> np.ndarray:
        if score not in self.names:
            raise BadInput(f"there is no head score {score!r}.{nearest(score, self.names)} There are: "
                           + ", ".join(self.names))
        if depth not in self.values:
            raise BadInput(f"{self.model} has no head scores at depth {depth}: {self.absent.get(depth, 'not there')}")
        return self.values[depth][self.names.index(score)]

    def top(self, score: str, n: int = 5) -> list[tuple[int, int, float]]:
        """(depth, head, mean) of the n highest heads."""
        rows = [(depth, head, float(mean)) for depth in self.values
                for head, mean in enumerate(self.means(score, depth))]
        return sorted(rows, key=lambda row: -row[2])[:n]

    def frame(self) -> pd.DataFrame:
        """One row a head and score: depth, head, score, value, low, high, uniform, mixing."""
        rows = []
        for depth, table in self.values.items():
            for score in self.names:
                for head in range(table.shape[1]):
                    e = self.estimate(score, depth, head)
                    rows.append({"depth": depth, "head": head, "score": score, "value": e.value, "low": e.low,
                                 "high": e.high, "uniform": self.uniform[score], "mixing": self.mixing[depth]})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "seed": self.seed, "units": {"value": "share of a query's attention"}}
        return frame

    def figure(self) -> "go.Figure":
        """A heatmap of depth and head for each score, one colour scale."""
        from plotly.subplots import make_subplots

        depths = list(self.values)
        width = max(table.shape[1] for table in self.values.values())
        figure = make_subplots(1, len(self.names), subplot_titles=[s.replace("_", " ") for s in self.names],
                               shared_yaxes=True, horizontal_spacing=0.03)
        for i, score in enumerate(self.names):
            grid = np.full((len(depths), width), np.nan)
            for row, depth in enumerate(depths):
                grid[row, : self.values[depth].shape[1]] = self.means(score, depth)
            figure.add_heatmap(z=grid, zmin=0, zmax=1, colorscale=plots.SEQUENTIAL, xgap=1, ygap=1, row=1, col=i + 1,
                               colorbar={"thickness": 14, "outlinewidth": 0}, showscale=i == 0, hoverongaps=False)
        plots.styled(figure, title=f"{self.model}: what heads look at", x_title="head")
        figure.update_yaxes(**plots.ticks([str(d) for d in depths], 32), autorange="reversed", showgrid=False)
        figure.update_xaxes(showgrid=False, dtick=max(1, width // 8))
        figure.update_yaxes(title_text="depth", col=1)
        return figure.update_layout(height=200 + 34 * min(len(depths), 16), margin={"t": 90, "b": 76})

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("head_scores", self)


def read_heads(model: HookedModel, names: tuple[str, ...], parts: Sequence[Part], uniform: dict[str, float], seed: int
               ) -> HeadScores:
    """Scores of all heads of a model, prompts part by part.

    Raises RequiresPattern where no depth mixes positions in a way that it declares.
    """
    blocks = {int(b.prefix.rpartition(".")[2]): b for b in model.map.blocks.values() if b.prefix.startswith("blocks.")}
    mixing, absent = {}, {}
    for depth, block in blocks.items():
        if block.mixing is not None or f"{block.prefix}.attn.hook_pattern" in model.map.sites:
            mixing[depth] = "softmax" if reads_attention(model, block) else "share of |mixing|"
        else:
            absent[depth] = f"{block.prefix} has no attention pattern and declares no mixing matrix"
    if not mixing:
        raise RequiresPattern(f"no depth of {model.name} mixes positions in a way that it declares: "
                              + next(iter(absent.values()), "it has no blocks"))
    found: dict[int, list[np.ndarray]] = {depth: [] for depth in mixing}
    for group in _groups(blocks, mixing):
        sites = [name for depth in group for name in _sites(model, blocks[depth])]
        for x, scores in progress(parts, "head scores"):
            cache = model.read(x, sites)
            for depth in group:
                matrix = model.mixing_matrix(cache, depth).detach()
                found[depth].append(scores(matrix if mixing[depth] == "softmax" else shares(matrix)))
    values = {depth: np.concatenate(tables, -1) for depth, tables in found.items()}
    return HeadScores(model.name, names, values, mixing, uniform, absent, seed)


def even(n: int, causal: bool) -> Float[Tensor, "1 1 query key"]:
    """The pattern of a head that looks at all it can see alike."""
    ones = torch.ones(1, 1, n, n)
    ones = ones.tril() if causal else ones
    return ones / ones.sum(-1, keepdim=True)


def _groups(blocks: dict[int, Block], depths: Iterable[int]) -> list[list[int]]:
    """Depths that are read in one pass: patterns, which are small, all together, other mixers one by one."""
    patterns = [depth for depth in depths if blocks[depth].mixing is None]
    return [group for group in (patterns, *([d] for d in depths if blocks[d].mixing is not None)) if group]


def reads_attention(model: HookedModel, block: Block) -> bool:
    """Whether what the block mixes by is a softmax, whose rows are read as they are."""
    site = model.map.sites.get(f"{block.prefix}.attn.hook_pattern")
    return block.mixing is None and site is not None and (site[0].pattern or "softmax").startswith("softmax")


def _sites(model: HookedModel, block: Block) -> list[str]:
    if block.mixing is None:
        return [f"{block.prefix}.attn.hook_pattern"]
    return [site.name for site in model.sites(f"{block.prefix}.*") if not site.on_request]


def shares(matrix: Float[Tensor, "... query key"]) -> Float[Tensor, "... query key"]:
    """|M[q, k]| as a share of its row; a row of zeros stays zero."""
    size = matrix.abs()
    return size / size.sum(-1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
