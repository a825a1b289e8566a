"""Metrics, and computing the output only where a metric reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from interp.hooks import HookedModel
from interp.results.errors import BadInput


@runtime_checkable
class ReadsPositions(Protocol):
    """A metric of single positions: `positions` [batch] (absolute) and `read(at [batch, vocab]) -> [batch]`."""

    positions: Tensor

    def read(self, at: Tensor) -> Tensor: ...


class Reader:
    """Applies a metric to a folded batch, gathering its positions before the unembedding where it can.

    `whole` keeps the output as it is: where the output itself is a source.
    """

    def __init__(self, model: HookedModel, metric, batch: int, whole: bool = False):
        self.model, self.metric, self.batch = model, metric, batch
        few = isinstance(metric, ReadsPositions) and metric.positions is not None
        self.few = few and not whole and model.map.unembed is not None

    @contextmanager
    def gathering(self, times: int = 1) -> Iterator[None]:
        """Forwards inside compute the output at the metric's positions only."""
        if not self.few:
            yield
            return
        at = self.metric.positions.repeat(times)

        def gather(module, args):
            hidden = args[0]
            return (hidden[torch.arange(len(at)), at.to(hidden.device)][:, None], *args[1:])

        handle = self.model.module.get_submodule(self.model.map.unembed).register_forward_pre_hook(gather)
        try:
            yield
        finally:
            handle.remove()

    def __call__(self, output: Tensor, times: int = 1) -> Tensor:
        """Metric values [times, batch] of an output folded `times` times."""
        parts = output.reshape(times, self.batch, *output.shape[1:])
        read = (lambda part: self.metric.read(part[:, 0])) if self.few else self.metric
        values = torch.stack([read(part) for part in parts])
        if values.shape != (times, self.batch):
            raise BadInput(
                f"the metric returned shape {list(values.shape[1:])}; one number per prompt, [{self.batch}], is needed"
            )
        return values
