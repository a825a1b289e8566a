"""Linear regression at every k of a prompt at once: weights from the examples before x_k, in float64.

    min-norm   w_k = pinv(X_<k) y_<k                       ridge   w_k = (X_<k^T X_<k + lambda I)^-1 X_<k^T y_<k

Shapes: features [..., n, p], ys [..., n], weights [..., n, p]. At k = 0 every weight is 0.
"""

import torch
from torch import Tensor

RTOL = 1e-10  # singular values below this share of the largest count as 0


def moments(features: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
    """(X^T X [..., n, p, p], X^T y [..., n, p]) of the examples before every k, in float64."""
    x, y = features.double(), ys.double()
    square, cross = x[..., :, None] * x[..., None, :], x * y[..., None]
    return _before(square, -3), _before(cross, -2)


def _before(values: Tensor, axis: int) -> Tensor:
    """Sums over what stands before each place. Not cumsum minus itself, which leaves rounding errors at k = 0."""
    total = values.cumsum(axis).roll(1, axis)
    total.select(axis, 0).zero_()
    return total


def ridge_weights(features: Tensor, ys: Tensor, penalty: float) -> Tensor:
    """Ridge weights at every k; `penalty` above 0."""
    square, cross = moments(features, ys)
    eye = torch.eye(square.shape[-1], dtype=square.dtype)
    return torch.linalg.solve(square + penalty * eye, cross)


def min_norm_weights(features: Tensor, ys: Tensor) -> Tensor:
    """The shortest least-squares weights at every k."""
    x, y = features.double(), ys.double()
    found = [torch.zeros_like(x[..., 0, :])]
    for k in range(1, x.shape[-2]):
        found.append((torch.linalg.pinv(x[..., :k, :], rtol=RTOL) @ y[..., :k, None])[..., 0])
    return torch.stack(found, -2)


def predictions(features: Tensor, weights: Tensor) -> Tensor:
    """What the weights at k say of the point at k, [..., n]."""
    return (features.double() * weights).sum(-1)


def posterior(features: Tensor, ys: Tensor, penalty: float) -> Tensor:
    """Posterior mean for w ~ N(0, I) and noise of variance `penalty`: ridge, or min-norm without noise; in the
    type of `ys`."""
    weights = ridge_weights(features, ys, penalty) if penalty > 0 else min_norm_weights(features, ys)
    return predictions(features, weights).to(ys.dtype)


def mixture_posterior(features: Tensor, ys: Tensor, penalty: float, floor: float = 1e-9) -> tuple[Tensor, Tensor]:
    """Bayes over m sets of features, all as likely: (prediction [batch, n], weight of each set [m, batch, n]).

    `features` [m, batch, n, p]. Each set is a Gaussian regression, updated example by example; its evidence is the
    product of its own one-step predictions. Without noise, `floor` stands for its variance.
    """
    x, y = features.double(), ys.double()
    m, batch, n, p = x.shape
    mean = torch.zeros(m, batch, p, dtype=x.dtype)
    spread = torch.eye(p, dtype=x.dtype).expand(m, batch, p, p)
    evidence = torch.zeros(m, batch, dtype=x.dtype)
    said, weights = [], []
    for k in range(n):
        at = x[:, :, k]
        guess, gain = (at * mean).sum(-1), (spread @ at[..., None])[..., 0]
        weights.append(evidence.softmax(0))
        said.append((weights[-1] * guess).sum(0))
        variance = (gain * at).sum(-1).clamp(min=0) + max(penalty, floor)
        wrong = y[:, k] - guess
        evidence = evidence - 0.5 * (variance.log() + wrong**2 / variance)
        mean = mean + gain * (wrong / variance)[..., None]
        spread = spread - gain[..., :, None] * gain[..., None, :] / variance[..., None, None]
    return torch.stack(said, -1).to(ys.dtype), torch.stack(weights, -1)
