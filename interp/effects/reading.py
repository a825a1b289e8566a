"""Metrics, and computing the output only where a metric reads it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from interp.hooks import HookedModel
from interp.hooks.firing import Firing, Stop
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
        if few and len(metric.positions) != batch:
            raise BadInput(
                f"the metric reads {len(metric.positions)} positions, one a prompt; there are {batch} prompts"
            )

    @contextmanager
    def gathering(self, times: int = 1) -> Iterator[None]:
        """Forwards inside, of a batch folded `times` times, compute the output at the metric's positions only."""
        if not self.few:
            yield
            return
        with self._before_unembedding(lambda hidden: self._gather(hidden, times)):
            yield

    def hidden(self, x, times: int, firing: Firing) -> Tensor:
        """[times * batch, 1, d]: what the unembedding reads at the metric's positions, in a folded forward that ends
        there."""
        found: list[Tensor] = []

        def hold(hidden: Tensor) -> Tensor:
            found.append(self._gather(hidden, times))
            firing.finish()
            raise Stop

        with self._before_unembedding(hold):
            try:
                self.model(x)
            except Stop:
                pass
        return found[0]

    def unembed(self, x, hidden: Tensor) -> Tensor:
        """The output for gathered `hidden` [rows, 1, d]: one forward of `x` that goes on with them."""
        with self._before_unembedding(lambda own: hidden):
            return self.model(x)

    def _gather(self, hidden: Tensor, times: int) -> Tensor:
        at = self.metric.positions.repeat(times).to(hidden.device)
        if int(at.max()) >= hidden.shape[1]:
            raise BadInput(f"the metric reads position {int(at.max())}; the output has {hidden.shape[1]} positions")
        return hidden[torch.arange(len(at), device=hidden.device), at][:, None]

    @contextmanager
    def _before_unembedding(self, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
        module = self.model.module.get_submodule(self.model.map.unembed)
        handle = module.register_forward_pre_hook(lambda module, args: (change(args[0]), *args[1:]))
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
