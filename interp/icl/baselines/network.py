"""A two-layer network trained on each prompt (Garg et al. 2022, arXiv 2208.01066, appendix A.3; Bhattamishra et al.
2023, arXiv 2310.03016, who call it FFN-GD)."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from interp.icl.layout import check_pairs
from interp.results.errors import BadInput
from interp.results.progress import progress


def network(
    xs: Tensor, ys: Tensor, hidden: int = 100, steps: int = 100, rate: float = 5e-3, seed: int = 0,
    labels: str = "real",
) -> Tensor:
    """y = w2 . relu(W1 x + b1) + b2, trained by Adam on the k examples before x_k from the same start for every prompt.

    Squared error, or for `labels` "sign" cross-entropy of log-odds. All prompts of one k are trained side by side.
    """
    check_pairs(xs, ys)
    if hidden < 1 or steps < 0:
        raise BadInput(f"a network of {hidden} hidden units and {steps} steps was asked for; at least 1, and 0")
    said = torch.zeros(ys.shape, dtype=torch.float64)
    for k in progress(range(1, xs.shape[1]), "network of every prompt"):
        said[:, k] = _trained(xs, ys, k, hidden, steps, rate, seed, labels)
    return said


def _trained(xs: Tensor, ys: Tensor, k: int, hidden: int, steps: int, rate: float, seed: int, labels: str) -> Tensor:
    batch, _, d = xs.shape
    generator = torch.Generator().manual_seed(seed)
    start = [torch.randn(d, hidden, generator=generator) * d**-0.5, torch.zeros(1, hidden),
             torch.randn(hidden, 1, generator=generator) * hidden**-0.5, torch.zeros(1, 1)]
    weights = [w.double().expand(batch, *w.shape).clone().requires_grad_() for w in start]
    optimiser = torch.optim.Adam(weights, lr=rate)
    x, y = xs.double(), ys.double()

    def out(points: Tensor) -> Tensor:
        w1, b1, w2, b2 = weights
        return ((points @ w1 + b1).relu() @ w2 + b2)[..., 0]

    with torch.enable_grad():
        for _ in range(steps):
            wrong = out(x[:, :k])
            loss = softplus(-y[:, :k] * wrong) if labels == "sign" else (wrong - y[:, :k]).square()
            optimiser.zero_grad()
            loss.mean(1).sum().backward()  # a sum over prompts: each has its own gradient
            optimiser.step()
    return out(x[:, k: k + 1]).detach()[:, 0]
