"""Integrated gradients over depth: how much of an answer passes through each token at each depth.

    attribution(site, t) = sum over channels of (x - b) * integral over a in [0, 1] of dF / d site at b + a (x - b)

x is the site's value, b its mean over ordinary tokens, F any metric. All tokens of a site move together, so the
attributions sum to F(x) - F(b). The integral is Gauss-Legendre on panels that are halved until the panel's own integral
matches the difference of F at its ends, which is known exactly: completeness is enforced where it fails, not hoped for.
(A left Riemann sum of 256 steps, as in the paper's code, misses half a step of the whole change.)

Papers: Sundararajan et al. 2017, arXiv 1703.01365; Csordas et al. 2025, arXiv 2505.13898, section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.depth.engine import BUDGET, Runs
from interp.depth.figures import matrix_figure
from interp.depth.tokens import describe_tokens
from interp.effects.linearised import constant_parameters
from interp.effects.reading import ReadsPositions
from interp.effects.skip import default_rows
from interp.hooks import HookedModel
from interp.lens.stream import points, real_tokens
from interp.results.errors import BadInput
from interp.results.progress import progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

NODES = 8  # of Gauss-Legendre in a panel: exact for polynomials of degree 15
TOLERANCE = 1e-4
NARROWEST = 1 / 128


@dataclass(frozen=True, eq=False)
class DepthGradients:
    """`values` [site, batch, pos] in the metric's unit. `clean` [batch] is F(x), `at_baseline` [site, batch] F(b);
    `gap` [site, batch] what the sum over positions misses of their difference, as a share of the range of F on the way.
    `evaluations` counts gradients a site."""

    model: str
    sites: list[str]
    values: Tensor
    clean: Tensor
    at_baseline: Tensor
    gap: Tensor
    evaluations: list[int]
    texts: np.ndarray
    unit: str = ""

    def strength(self) -> Tensor:
        """[site, batch]: sum over tokens of the attributions' sizes."""
        return self.values.abs().sum(-1)

    def frame(self) -> pd.DataFrame:
        """One row a site and position, mean over prompts; the prompts' total and the gap beside it."""
        n_sites, _, n_pos = self.values.shape
        frame = pd.DataFrame({
            "site": np.repeat(self.sites, n_pos), "position": np.tile(np.arange(n_pos), n_sites),
            "attribution": self.values.mean(1).flatten().numpy(),
            "total": np.repeat((self.clean - self.at_baseline).mean(1).numpy(), n_pos),
            "gap": np.repeat(self.gap.amax(1).numpy(), n_pos),
        })
        frame.attrs["unit"] = self.unit
        return frame

    def figure(self) -> "go.Figure":
        """Sites down, tokens across; the colours ignore the first token, whose size would hide the rest."""
        mean = self.values.mean(1).numpy()
        labels = self.texts[0].tolist() if len(self.texts) == 1 else range(mean.shape[1])
        return matrix_figure(
            mean, x=list(labels), y=[site.replace("blocks.", "").replace("hook_", "") for site in self.sites],
            largest=float(np.abs(mean[:, 1:]).max() or 1.0), diverging=True, unit=self.unit or "metric", y_title="site",
            title=f"{self.model}: integrated gradients by depth", x_title="token",
        )

    def save(self, run) -> None:
        """Table and figure into a run directory."""
        run.save_views("integrated_gradients", self)


def integrated_gradients(
    model: HookedModel, x: Any, metric, sites: Sequence[str] | str | None = None, *, tolerance: float = TOLERANCE,
    budget: int = BUDGET,
) -> DepthGradients:
    """Attributions of `metric(output) -> [batch]` to every token at the given sites (default: the stream's points).

    Panels are halved until the gap is below `tolerance` of the range of the metric on the way (or its rounding: use
    float64 where it hardly moves), or they are 1 / 128 wide; what is left is in `gap`.
    Raises BadInput for sites that are no streams of the tokens.
    """
    names = [s.name for s in model.sites(sites)] if sites else points(model)
    first = points(model)[0]
    shape = model.read(x, first)[first]
    real = real_tokens(model, x, shape)
    at = metric.positions[:, None] if isinstance(metric, ReadsPositions) and metric.positions is not None else None
    runs = Runs(model, x, names, at)
    ordinary = real & (real.cumsum(1) > 1) if int(real.sum(1).min()) > 1 else real
    clean = _read(metric, runs.output, 1, runs.batch, at)[0]
    rows = max(1, default_rows(model, shape.shape[1], budget // 3, at is not None) // runs.batch)
    values, base, gaps, counts = [], [], [], []
    for name in progress(names, "integrating"):
        if runs.clean[name].shape[:2] != real.shape:
            raise BadInput(f"{name!r} is {list(runs.clean[name].shape)}; a site [batch, pos, ...] of the tokens is "
                           "needed")
        found = _Path(model, runs, name, metric, at, ordinary, real, rows).integrate(clean, tolerance)
        for into, value in zip((values, base, gaps, counts), found, strict=True):
            into.append(value)
    return DepthGradients(model.name, names, torch.stack(values), clean, torch.stack(base), torch.stack(gaps), counts,
                          describe_tokens(model, x, real).texts, getattr(metric, "unit", ""))


def _read(metric, output: Tensor, times: int, batch: int, at) -> Tensor:
    """Metric values [times, batch] of a folded output."""
    parts = output.reshape(times, batch, *output.shape[1:])
    return torch.stack([metric(part) if at is None else metric.read(part[:, 0]) for part in parts])


class _Path:
    """The straight way from a site's mean to its value, all real tokens together."""

    def __init__(self, model, runs: Runs, name: str, metric, at, ordinary: Tensor, real: Tensor, rows: int):
        self.model, self.runs, self.name, self.metric, self.at, self.rows = model, runs, name, metric, at, rows
        self.value = runs.clean[name]
        mean = self.value[ordinary].mean(0)
        keep = real.reshape(*real.shape, *[1] * (self.value.dim() - 2)).to(self.value.device)
        self.base = torch.where(keep, mean, self.value)
        self.step = self.value - self.base
        self.start = runs.at(name) + model.site(name).kind.endswith("hook_resid_post")
        self.count = 0

    def integrate(self, clean: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor, int]:
        """(attribution [batch, pos], F at the mean [batch], gap [batch], gradients taken)."""
        nodes, weights = (torch.from_numpy(a).to(self.value.dtype) for a in np.polynomial.legendre.leggauss(NODES))
        nodes, weights = (nodes + 1) / 2, weights / 2
        base, again = self.metric_at([0.0, 1.0])
        rounding = 2 * (again - clean).abs()  # what folding places into one batch changes in the last digits
        panels = [(0.0, 1.0, base, clean)]
        low, high = torch.minimum(base, clean), torch.maximum(base, clean)
        total, kept = torch.zeros(self.value.shape[:2], dtype=self.value.dtype), 0.0
        while panels:
            unfinished = []
            for lo, hi, f_lo, f_hi in panels:
                seen, part = self.gradients([lo + (hi - lo) * float(t) for t in nodes], weights * (hi - lo))
                low, high = torch.minimum(low, seen.amin(0)), torch.maximum(high, seen.amax(0))
                missed = (part.sum(1) - (f_hi - f_lo)).abs()
                floor = torch.maximum(rounding, 8 * torch.finfo(high.dtype).eps * torch.maximum(high.abs(), low.abs()))
                allowed = torch.maximum(tolerance * (high - low) * max(hi - lo, 0.02), floor)
                if (missed <= allowed).all() or hi - lo <= NARROWEST:
                    total, kept = total + part, kept + (part.sum(1) - (f_hi - f_lo))
                else:
                    unfinished.append((lo, hi, f_lo, f_hi))
            panels = self._halved(unfinished)
        return total, base, torch.as_tensor(kept).abs() / (high - low).clamp(min=1e-9), self.count

    def _halved(self, panels: list) -> list:
        middles = [(lo + hi) / 2 for lo, hi, _, _ in panels]
        found = self.metric_at(middles) if panels else []
        return [half for (lo, hi, a, b), mid, f in zip(panels, middles, found, strict=True)
                for half in ((lo, mid, a, f), (mid, hi, f, b))]

    def metric_at(self, shares: list[float]) -> Tensor:
        """F at places of the way, [place, batch]."""
        with torch.no_grad():
            return torch.cat([self._run(shares[i : i + self.rows])[1] for i in range(0, len(shares), self.rows)])

    def gradients(self, shares: list[float], weights: Tensor) -> tuple[Tensor, Tensor]:
        """(F [place, batch], weighted sum of <step, gradient> by token [batch, pos])."""
        values, total = [], torch.zeros(self.value.shape[:2], dtype=self.value.dtype)
        for i in range(0, len(shares), self.rows):
            part = shares[i : i + self.rows]
            with torch.enable_grad(), constant_parameters(self.model):
                point, found = self._run(part)
                (grad,) = torch.autograd.grad(found.sum(), point)
            inner = (grad.reshape(len(part), *self.value.shape) * self.step).flatten(3).sum(-1)
            total += (inner.cpu() * weights[i : i + len(part), None, None]).sum(0)
            values.append(found.detach().cpu())
        self.count += len(shares)
        return torch.cat(values), total

    def _run(self, shares: list[float]) -> tuple[Tensor, Tensor]:
        place = torch.tensor(shares, dtype=self.value.dtype, device=self.value.device)
        point = self.base + place.reshape(-1, *[1] * self.value.dim()) * self.step
        point = point.flatten(0, 1).requires_grad_(torch.is_grad_enabled())
        _, output = self.runs.edited(self.start, [(self.name, lambda value, site: point)], times=len(shares), keep=())
        return point, _read(self.metric, output, len(shares), self.runs.batch, self.at)
