"""The steps of every training here: warm-up and cosine, clipped gradients, checkpoints; reproducible and resumable.

The loss of a step depends on its number alone, so a run that was killed continues as if it had not been.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interp.results.progress import progress
from interp.results.training_state import resume_state, save_state

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_LAST_RATE = 0.02  # of the peak, at the end of the cosine
_LARGEST_GRADIENT = 1.0


def share_of_peak(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def run_steps(
    module: "nn.Module", optimiser: "Optimizer", loss_at: "Callable[[int], Tensor]", *, steps: int, warmup: int,
    title: str, folder: Path | None = None, identity: Mapping[str, str] | None = None, every: int = 250,
    after: Callable[[int], None] = lambda done: None,
) -> None:
    """Minimise `loss_at(step)` over `steps` steps, in place; the peak rate is the optimiser's own when it is given.

    With `folder` the state is kept there every so often, and a state of the same `identity` found there is continued.
    `after(done)` is called behind every step with how many are done. Raises BadFile and BadInput as `resume_state`.
    """
    import torch

    peaks = [group["lr"] for group in optimiser.param_groups]
    start = resume_state(folder, module, optimiser, identity or {})
    module.train()
    for step in progress(range(start, steps), title):
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * share_of_peak(step, steps, warmup)
        loss = loss_at(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), _LARGEST_GRADIENT)
        optimiser.step()
        if folder is not None and (step + 1) % every == 0:
            save_state(folder, module, optimiser, identity or {}, step + 1)
        after(step + 1)
    module.eval()
