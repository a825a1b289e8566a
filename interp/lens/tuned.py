"""The tuned lens: an affine map a depth, from its stream to the last one, in front of the model's own head.

    minimise  sum_t w_t || A_l h_l(t) + b_l - h_L(t) ||^2 + ridge * ||A_l||^2,      w_t = 1 / ||h_L(t)||^2

in closed form. The weights make every token count alike: behind the final norm only directions matter, and without
them a first position a thousand times as long as the rest would be all that is fitted. The strength of the ridge is
chosen among `RIDGES` by the error on the last fifth of the prompts, the same for all depths. The published lens is
trained on the KL by gradient steps; this one is its least-squares relative, exact in one pass.

Paper: Belrose et al. 2023, "Eliciting latent predictions from transformers with the tuned lens", arXiv 2303.08112.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.hooks import HookedModel
from interp.lens.stream import points, real_tokens
from interp.results import plots
from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write, make_folder, read_json
from interp.results.progress import progress
from interp.results.tensors import load_arrays, save_arrays

if TYPE_CHECKING:
    import plotly.graph_objects as go

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SCHEMA = "interp.tuned-lens/1"


@dataclass(frozen=True, eq=False)
class TunedLens:
    """`lens(site, stream)` is that stream in the coordinates of the last one.

    `maps[site]` [d_model, d_model] acts from the right, `shifts[site]` [d_model]. `error[site]` is what remains on
    held-out prompts, mean of ||prediction - h_L||^2 / ||h_L||^2; `ridge` the chosen strength; `n_tokens` fitted on.
    """

    model: str
    maps: Mapping[str, Tensor]
    shifts: Mapping[str, Tensor]
    error: Mapping[str, float]
    ridge: float
    n_tokens: int

    def __call__(self, site: str, stream: Tensor) -> Tensor:
        """Raises BadInput for a site that the lens was not fitted for."""
        if site not in self.maps:
            raise BadInput(f"this tuned lens of {self.model} has no map for {site!r}; it has {', '.join(self.maps)}")
        return stream @ self.maps[site].to(stream) + self.shifts[site].to(stream)

    def frame(self) -> pd.DataFrame:
        """One row a site: what remains on held-out prompts, as a share of the last stream's squared norm."""
        return pd.DataFrame({"site": list(self.error), "depth": range(len(self.error)),
                             "held_out_error": list(self.error.values())})

    def figure(self) -> "go.Figure":
        """The held-out error by depth."""
        frame = self.frame()
        return plots.curve_with_band(frame["depth"], frame["held_out_error"], title=f"{self.model}: tuned lens",
                                     x_title="blocks passed", y_title="error (share of squared norm)")

    def save(self, path) -> Path:
        """Write `tuned_lens.safetensors` and `tuned_lens.json` to a folder (or the folder of a run)."""
        folder = Path(getattr(path, "path", path))
        make_folder(folder)
        arrays = {f"map {site}": value.numpy() for site, value in self.maps.items()}
        save_arrays(folder / "tuned_lens.safetensors",
                    arrays | {f"shift {site}": value.numpy() for site, value in self.shifts.items()})
        facts = {"schema": SCHEMA, "model": self.model, "ridge": self.ridge, "n_tokens": self.n_tokens,
                 "sites": list(self.maps), "error": dict(self.error)}
        return atomic_write(folder / "tuned_lens.json", json.dumps(facts, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "TunedLens":
        """The lens that `save` wrote. Raises BadFile for anything else."""
        path = Path(path)
        facts = read_json(path / "tuned_lens.json")
        if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
            raise BadFile(f"{path} holds no tuned lens")
        arrays = load_arrays(path / "tuned_lens.safetensors")
        try:
            maps, shifts = ({site: torch.from_numpy(np.array(arrays[f"{what} {site}"])) for site in facts["sites"]}
                            for what in ("map", "shift"))
            return cls(facts["model"], maps, shifts, facts["error"], float(facts["ridge"]), int(facts["n_tokens"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadFile(f"{path}: damaged, not a tuned lens ({error})") from error


def fit_tuned_lens(model: HookedModel, x, *, rows: int = 8) -> TunedLens:
    """An affine map from every depth to the last, by weighted ridge regression on the real tokens of `x`.

    The last fifth of the prompts chooses the ridge and gives the error; `rows` prompts are run at once, and only the
    moments are kept. Give several times as many tokens as the stream has channels. Raises BadInput for fewer than
    five prompts.
    """
    batch, names = model.batch_of(x)[0], points(model)
    if batch < 5:
        raise BadInput(f"{batch} prompts were given; a tuned lens needs 5 or more, a fifth of them held out")
    cut = batch - max(1, batch // 5)
    fitted, held = ({name: _Moments() for name in names} for _ in range(2))
    for start in progress(range(0, batch, rows), "reading for the tuned lens"):
        _gather(model, x, slice(start, min(start + rows, cut)), names, fitted)
        _gather(model, x, slice(max(start, cut), min(start + rows, batch)), names, held)
    solutions = {ridge: {name: fitted[name].solve(ridge) for name in names} for ridge in RIDGES}
    errors = {ridge: {name: held[name].error(*found[name]) for name in names} for ridge, found in solutions.items()}
    best = min(RIDGES, key=lambda ridge: sum(errors[ridge].values()))
    maps, shifts = ({name: solutions[best][name][i].float().contiguous() for name in names} for i in (0, 1))
    identity = names[-1]  # the last depth needs no map, and a shrunk one would not be exact
    maps[identity], shifts[identity] = torch.eye(len(maps[identity])), torch.zeros(len(maps[identity]))
    return TunedLens(model.name, maps, shifts, errors[best] | {identity: 0.0}, best, fitted[identity].count)


def _gather(model, x, index: slice, names: list[str], moments: dict[str, "_Moments"]) -> None:
    from interp.hooks.baselines import rows as rows_of

    if index.start >= index.stop:
        return
    part = rows_of(x, index)
    cache = model.read(part, names)
    real = real_tokens(model, part, cache[names[0]])
    last = cache[names[-1]][real].double()
    for name in names:
        moments[name].add(cache[name][real].double(), last)


class _Moments:
    """Weighted second moments of (h, 1) and the target: all that the regression and its error need."""

    def __init__(self) -> None:
        self.xx = self.xy = self.yy = 0
        self.count = 0

    def add(self, h: Tensor, target: Tensor) -> None:
        """Tokens h, target [token, d_model]."""
        root = 1 / target.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        h, target = torch.cat([h, torch.ones_like(h[:, :1])], 1) * root, target * root
        self.xx, self.xy = self.xx + h.T @ h, self.xy + h.T @ target
        self.yy, self.count = self.yy + float((target * target).sum()), self.count + len(h)

    def solve(self, ridge: float) -> tuple[Tensor, Tensor]:
        """(map, shift); the ridge is relative to the mean square of a channel, and does not touch the shift."""
        d = len(self.xx) - 1
        penalty = torch.full((d + 1,), ridge * float(self.xx.diagonal()[:d].mean()), dtype=self.xx.dtype)
        penalty[-1] = 0
        solution = torch.linalg.solve(self.xx + penalty.diag(), self.xy)
        return solution[:-1], solution[-1]

    def error(self, matrix: Tensor, shift: Tensor) -> float:
        """Mean squared error of a map, from the moments."""
        full = torch.cat([matrix, shift[None]])
        return float((full * (self.xx @ full)).sum() - 2 * (full * self.xy).sum() + self.yy) / self.count
