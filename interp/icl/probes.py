"""What can be read, linearly, at which depth and at which token: closed-form probes with their controls.

    error  of a ridge map from the stream to a target, on prompts that it was not fitted on, as R2
    control  the same with a target that only memory could give (Hewitt & Liang 2019, arXiv 1909.03368): each row gets
             the target of a row drawn at random, so that nothing is there to be read, and R2 is at most 0 but for
             overfitting
    selectivity = R2 - control R2
    floor    R2 of the same target from the embedding (depth 0): what was there before the model did anything

Features are standardised, prompts of fit and test are disjoint, and there are at least 50 rows for every channel.
A looped model has one depth for each visit of its block, and so one probe a loop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.hooks import HookedModel
from interp.icl.curves import points_of
from interp.icl.readouts import PER_WIDTH, streams
from interp.icl.ridge import fit_ridge
from interp.icl.targets import targets_for
from interp.results import plots
from interp.results.errors import BadInput, nearest
from interp.results.estimate import Estimate, bootstrap_ratio
from interp.results.progress import progress
from interp.tasks.functions import FunctionTask, function_task

if TYPE_CHECKING:
    import plotly.graph_objects as go

Token = Literal["x", "y"]
TOKENS: tuple[Token, Token] = ("x", "y")


@dataclass(frozen=True, eq=False)
class Probes:
    """`left[target]` [depth, token, prompt] squared error of the probes on test prompts, summed over rows and target
    channels; `memory[target]` the same of control targets; `spread[target]` [prompt] squared distance to the mean, and
    `memory_spread` that of the control. Tokens are x and y."""

    model: str
    task: str
    left: dict[str, np.ndarray]
    memory: dict[str, np.ndarray]
    spread: dict[str, np.ndarray]
    memory_spread: dict[str, np.ndarray]
    rows: int
    width: int
    loops: list[str]
    seed: int

    def r2(self, target: str, depth: int, token: Token) -> Estimate:
        """R2 on test prompts, prompts resampled. Raises BadInput for a target that was not probed."""
        return self._r2(self.left, self.spread, target, depth, token)

    def control(self, target: str, depth: int, token: Token) -> Estimate:
        """R2 of the control target."""
        return self._r2(self.memory, self.memory_spread, target, depth, token)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        rows = []
        for target, table in self.left.items():
            for i, token in enumerate(TOKENS):
                floor = 1 - float(table[0, i].sum() / self.spread[target].sum())
                for depth in range(len(table)):
                    e = self.r2(target, depth, token)
                    control = 1 - float(self.memory[target][depth, i].sum() / self.memory_spread[target].sum())
                    rows.append({"target": target, "token": token, "depth": depth, "visit": self.loops[depth],
                                 "r2": e.value, "low": e.low, "high": e.high, "control": control,
                                 "selectivity": e.value - control, "floor": floor})
        frame = pd.DataFrame(rows)
        frame.attrs |= {"model": self.model, "task": self.task, "rows": self.rows, "width": self.width,
                        "seed": self.seed}
        return frame

    def _r2(self, left: Mapping, spread: Mapping, target: str, depth: int, token: Token) -> Estimate:
        if target not in left:
            raise BadInput(f"{target!r} was not probed.{nearest(target, left)} Probed: {', '.join(left)}")
        share = bootstrap_ratio(left[target][depth, TOKENS.index(token)], spread[target], seed=self.seed, draws=300)
        return Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.n, share.unit, share.method)

    def frame(self) -> pd.DataFrame:
        """One row a target, token and depth: R2 with its interval, control, selectivity, and the floor of depth 0."""
        return self._frame.copy()

    def figure(self) -> "go.Figure":
        """R2 by depth, a panel a token and a line a target."""
        from plotly.subplots import make_subplots

        figure = make_subplots(1, 2, subplot_titles=[f"at {token}-tokens" for token in TOKENS], shared_yaxes=True,
                               horizontal_spacing=0.05)
        table = self.frame()
        for i, target in enumerate(self.left):
            colour, dash = plots.LINES[i % len(plots.LINES)], plots.DASHES[i % len(plots.DASHES)]
            for col, token in enumerate(TOKENS, 1):
                part = table[(table["target"] == target) & (table["token"] == token)]
                figure.add_scatter(
                    x=part["depth"], y=part["r2"].clip(lower=-0.2), name=plots.label_text(target), row=1, col=col,
                    line={"color": colour, "dash": dash}, legendgroup=target, showlegend=col == 1,
                    mode="lines+markers", error_y={"type": "data", "symmetric": False, "thickness": 1,
                                                   "array": part["high"] - part["r2"],
                                                   "arrayminus": part["r2"] - part["low"]})
        plots.styled(figure, title=f"{self.model}: what can be read at each depth", x_title="depth (0: embedding)")
        figure.update_yaxes(title_text="R2 on other prompts", col=1)
        return figure.update_yaxes(range=[-0.22, 1.05]).update_layout(height=460, margin={"t": 90, "b": 76})

    def save(self, run):
        """Table and figure into a run."""
        return run.save_views("probes", self)


def probe(
    model: HookedModel, task: FunctionTask | str = "linear", n: int | None = None, *,
    targets: Mapping[str, Float[Tensor, "batch n width"]] | None = None, fit: int | None = None, test: int = 500,
    since: int = 0, penalty: float = 1e-3, seed: int = 0,
) -> Probes:
    """Probes of every target at every depth, at the tokens of x_k and of y_k, k >= `since`.

    `targets` are functions' own (see `interp.icl.targets`), or a mapping of your own: name -> [fit + test, n, width],
    of the prompts `task.sample(fit + test, n, seed)`. `fit` prompts (default: as many as 50 rows a channel need).
    Raises BadInput for fewer rows, or targets of another shape.
    """
    task = function_task(task) if isinstance(task, str) else task
    n = n or points_of(model, task)
    if not 0 <= since < n:
        raise BadInput(f"since is {since}; prompts have k = 0 to {n - 1}")
    width = streams(model, *_first(task, n))[0].shape[-1]
    least = -(-PER_WIDTH * width // (n - since))
    fit = max(least, 500) if fit is None else fit
    if fit < least:
        raise BadInput(f"{fit} prompts of {n - since} points are {fit * (n - since)} rows for {width} channels; give "
                       f"fit={least} at least")
    drawn = task.sample(fit + test, n, seed)
    targets = targets_for(task, drawn) if targets is None else targets
    for name, value in targets.items():
        if value.dim() != 3 or tuple(value.shape[:2]) != (fit + test, n):
            raise BadInput(f"target {name!r} has shape {list(value.shape)}; [{fit + test}, {n}, width] is needed")
    found = streams(model, drawn.xs, drawn.ys)
    result: dict[str, dict] = {key: {} for key in ("left", "memory", "spread", "memory_spread")}
    generator = torch.Generator().manual_seed(seed + 1)
    for name, value in progress(targets.items(), "probes"):
        y = value[:, since:].double()
        order = torch.randperm(y.shape[0] * y.shape[1], generator=generator)
        chance = y.flatten(0, 1)[order].view_as(y)
        for key, spread, goal in (("left", "spread", y), ("memory", "memory_spread", chance)):
            result[key][name] = np.stack([
                np.stack([_left(h[:, i::2][:, since:], goal, fit, penalty) for i in range(2)]) for h in found])
            result[spread][name] = (goal[fit:] - goal[:fit].mean((0, 1))).square().sum((1, 2)).numpy()
    return Probes(model.name, task.name, **result, rows=fit * (n - since), width=width, loops=_visits(model),
                  seed=seed)


def _first(task: FunctionTask, n: int) -> tuple[Tensor, Tensor]:
    drawn = task.sample(1, n, 0)
    return drawn.xs, drawn.ys


def _left(h: Tensor, y: Tensor, fit: int, penalty: float) -> Float[np.ndarray, " prompt"]:
    """Squared error on test prompts of the map fitted on the others."""
    read = fit_ridge(h[:fit].flatten(0, 1), y[:fit].flatten(0, 1), penalty)
    return (y[fit:] - read(h[fit:])).square().sum((1, 2)).numpy()


def _visits(model: HookedModel) -> list[str]:
    """What stands behind every depth point: embedding, or block and visit of a looped one."""
    from interp.lens.stream import stream_blocks

    return ["embedding", *(f"{block.path}, visit {block.visit}" for block in stream_blocks(model))]
