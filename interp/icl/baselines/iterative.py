"""Iterative solvers of S w = X^T y, S = X^T X over the k examples before x_k, all from w = 0 (Newton: from M_0).

    gradient_descent    w <- w - rate (S w - X^T y)
    gd_plus_plus        the same on points that shrink along with it: X <- X (I - shrink X^T X)
    heavy_ball          w <- w - rate (S w - X^T y) + momentum (w - w_before)
    chebyshev           the same with the rates of Chebyshev polynomials over [smallest, largest eigenvalue]
    conjugate_gradient  exact after as many steps as S has different eigenvalues
    newton              M_0 = a S, a = 1 / ||S S||_F;  M <- 2 M - M S M;  w = M X^T y         M -> S^-1, error squared

Shapes: xs [batch, n, d], ys [batch, n] -> [batch, n] behind `steps` steps, or with `iterates` [steps + 1, batch, n],
row j behind j steps. Everything is in float64; at k = 0 the prediction is 0. Where rates are not given they follow from
the eigenvalues of S that are not 0, k by k. Papers: von Oswald et al. 2023 (arXiv 2212.07677) for gd_plus_plus; Fu et
al. 2023 (arXiv 2310.17086) for Newton's iteration, which is Newton-Schulz's (Schulz 1933).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from interp.icl.layout import check_pairs
from interp.results.errors import BadInput
from interp.tasks.functions.solve import RTOL, moments, predictions

Weights = Iterator[Tensor]


def gradient_descent(
    xs: Tensor, ys: Tensor, steps: int = 1, rate: float | None = None, *, iterates: bool = False
) -> Tensor:
    """Gradient descent on half the summed squared error; `rate` is 1 / the largest eigenvalue of S unless given."""

    def run(S: Tensor, b: Tensor) -> Weights:
        eta = _column(rate, lambda: 1 / _spectrum(S)[1])
        w = torch.zeros_like(b)
        while True:
            yield w
            w = w - eta * (_times(S, w) - b)

    return _said(xs, ys, run, steps, iterates)


def gd_plus_plus(
    xs: Tensor, ys: Tensor, steps: int = 1, rate: float | None = None, shrink: float | None = None, *,
    iterates: bool = False,
) -> Tensor:
    """Gradient descent whose points are preconditioned by every step; `rate` is 1 and `shrink` 1/2 over the largest
    eigenvalue of the S of that step unless given."""

    def run(S: Tensor, b: Tensor) -> Weights:
        eye = torch.eye(S.shape[-1], dtype=S.dtype)
        P, left, w = eye.expand_as(S), b, torch.zeros_like(b)  # P turns the first points into those of this step
        while True:
            yield w
            now = P @ S @ P
            top = _spectrum(now)[1]
            seen = _times(P, _times(P, left))
            eta = _column(rate, lambda top=top: 1 / top)
            w, left = w + eta * seen, left - eta * _times(S, seen)
            P = P @ (eye - _column(shrink, lambda top=top: 0.5 / top)[..., None] * now)

    return _said(xs, ys, run, steps, iterates)


def heavy_ball(
    xs: Tensor, ys: Tensor, steps: int = 1, rate: float | None = None, momentum: float | None = None, *,
    iterates: bool = False,
) -> Tensor:
    """Gradient descent with momentum (Polyak 1964), by default with the best rates for the eigenvalues of S."""

    def run(S: Tensor, b: Tensor) -> Weights:
        low, high = (bound.sqrt() for bound in _spectrum(S))
        eta = _column(rate, lambda: 4 / (low + high) ** 2)
        beta = _column(momentum, lambda: ((high - low) / (high + low)) ** 2)
        before = w = torch.zeros_like(b)
        while True:
            yield w
            before, w = w, w - eta * (_times(S, w) - b) + beta * (w - before)

    return _said(xs, ys, run, steps, iterates)


def chebyshev(xs: Tensor, ys: Tensor, steps: int = 1, *, iterates: bool = False) -> Tensor:
    """Chebyshev's semi-iterative method (Golub & Varga 1961): the best polynomial for the bounds of the spectrum."""

    def run(S: Tensor, b: Tensor) -> Weights:
        low, high = _spectrum(S)
        middle, ratio = (high + low) / 2, (high - low) / (high + low)
        before = w = torch.zeros_like(b)
        omega = torch.ones_like(middle)
        for step in _count():
            yield w
            before, w = w, omega * (w + (b - _times(S, w)) / middle - before) + before
            omega = 1 / (1 - ratio**2 * (omega / 4 if step else 0.5))

    return _said(xs, ys, run, steps, iterates)


def conjugate_gradient(xs: Tensor, ys: Tensor, steps: int = 1, *, iterates: bool = False) -> Tensor:
    """Conjugate gradients (Hestenes & Stiefel 1952); a prompt that is solved stays as it is."""

    def run(S: Tensor, b: Tensor) -> Weights:
        w, left = torch.zeros_like(b), b
        way, size = left, (left**2).sum(-1, keepdim=True)
        floor = RTOL**2 * size
        while True:
            yield w
            ahead = _times(S, way)
            going = size > floor
            eta = torch.where(going, size / (way * ahead).sum(-1, keepdim=True).clamp(min=1e-300), 0.0)
            w, left = w + eta * way, left - eta * ahead
            new = (left**2).sum(-1, keepdim=True)
            way, size = left + torch.where(going, new / size.clamp(min=1e-300), 0.0) * way, new

    return _said(xs, ys, run, steps, iterates)


def newton(xs: Tensor, ys: Tensor, steps: int = 1, *, iterates: bool = False) -> Tensor:
    """Newton's iteration for the inverse of S; behind j steps the error along an eigenvector of eigenvalue l is
    (1 - a l^2)^(2^j) of what it was.

    It runs along the eigenvectors of S: as matrices, what rounding puts beside the span of k < d examples doubles at
    every step and is all there is after sixty.
    """

    def run(S: Tensor, b: Tensor) -> Weights:
        values, vectors = torch.linalg.eigh(S)
        values = torch.where(values > 1e-10 * values[..., -1:], values, 0.0)
        along = _times(vectors.transpose(-1, -2), b)
        m = values / values.square().norm(dim=-1, keepdim=True).clamp(min=1e-300)
        while True:
            yield _times(vectors, m * along)
            m = 2 * m - values * m**2

    return _said(xs, ys, run, steps, iterates)


def fitted_rate(
    xs: Tensor, ys: Tensor, steps: int, method: Callable[..., Tensor] = gradient_descent, rates: int = 41
) -> float:
    """The rate, of `rates` between 1e-4 and 10 in equal ratios, at which `method` errs least behind `steps` steps, over
    all prompts and k: what a trained model could have learned for its own prompts."""
    grid = torch.logspace(-4, 1, rates, dtype=torch.float64).tolist()
    wrong = [float((method(xs, ys, steps, rate) - ys.double()).square().mean().nan_to_num(torch.inf)) for rate in grid]
    return grid[min(range(rates), key=wrong.__getitem__)]


def _said(xs: Tensor, ys: Tensor, run: Callable[[Tensor, Tensor], Weights], steps: int, iterates: bool) -> Tensor:
    """Predictions of the weights that `run` gives one after the other."""
    check_pairs(xs, ys)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise BadInput(f"steps is {steps!r}; a whole number of at least 0 is needed")
    kept = []
    for step, w in zip(range(steps + 1), run(*moments(xs, ys))):
        if iterates or step == steps:
            kept.append(predictions(xs, w))
    return torch.stack(kept) if iterates else kept[-1]


def _times(S: Tensor, w: Tensor) -> Tensor:
    return (S @ w[..., None])[..., 0]


def _count() -> Iterator[int]:
    step = 0
    while True:
        yield step
        step += 1


def _spectrum(S: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest eigenvalue that is not 0 and largest, [batch, n, 1] each; 1 where S is 0."""
    values = torch.linalg.eigvalsh(S)
    high = values[..., -1:]
    low = torch.where(values > 1e-10 * high, values, torch.inf).amin(-1, keepdim=True)
    none = high <= 0
    return torch.where(none, 1.0, low), torch.where(none, 1.0, high)


def _column(given: float | None, default: Callable[[], Tensor]) -> Tensor:
    return default() if given is None else torch.tensor(float(given), dtype=torch.float64)
