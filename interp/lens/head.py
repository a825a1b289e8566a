"""The rest of a model behind its last block, as a function of the stream there.

Nothing is rebuilt: the model's own forward runs with every block looked up and another stream put in, so a final norm,
a masked-language head, a soft cap or a pooler are what they are. Positions are gathered in front of the unembedding,
whose cost is most of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from interp.effects.skip import CleanRun
from interp.hooks import HookedModel, Site
from interp.lens.stream import stream_blocks
from interp.results.errors import BadInput, RequiresResidualStream


class Head:
    """`head(stream)` is the model's output for a last stream [batch, pos, d_model]; made by one forward of `x`.

    `stream` and `output` are the model's own, `kept` the sites `keep` of the same forward. With `positions` [batch, n]
    (absolute) outputs are [batch, n, ...]: of these alone. `is_distribution` says whether the output is logits, as the
    site map declares by an unembedding.
    """

    def __init__(self, model: HookedModel, x, positions: Tensor | None = None, keep: Sequence[str] = ()):
        self.model, self.x, self.positions = model, x, positions
        self.site = stream_blocks(model)[-1].resid_post
        self.is_distribution = model.map.unembed is not None
        self._run = CleanRun(model, {len(model.map.blocks)})
        self.kept: dict[str, Tensor] = {}

        def hold(value: Tensor, site: Site) -> None:
            self.kept[site.name] = value.clone()  # code behind it may write in place

        with torch.no_grad(), model.firing([(name, hold) for name in dict.fromkeys([*keep, self.site])]):
            with self._run.recording(), gathered(model, positions):
                self.output = _picked(model(x), positions, self.is_distribution)
        self.stream = self.kept[self.site]

    def __call__(self, stream: Tensor) -> Tensor:
        """The output for another stream. Raises BadInput for one of another shape."""
        if stream.shape != self.stream.shape:
            raise BadInput(f"a stream of shape {list(stream.shape)} was given; that of {self.model.name} here is "
                           f"{list(self.stream.shape)}")
        with self.model.firing([(self.site, lambda value, site: stream.to(value))]) as firing:
            with self._run.skipping(len(self.model.map.blocks), 1, len(stream), firing):
                with gathered(self.model, self.positions):
                    return _picked(self.model(self.x), self.positions, self.is_distribution)

    def require_fit(self, name: str, value: Tensor) -> None:
        """Raises RequiresResidualStream for a site whose value is no stream that this head can read."""
        if value.shape != self.stream.shape:
            raise RequiresResidualStream(f"{name!r} of {self.model.name} is {list(value.shape)}; a stream of "
                                         f"{list(self.stream.shape)} is needed to read it through the head")


@contextmanager
def gathered(model: HookedModel, positions: Tensor | None) -> Iterator[None]:
    """Forwards inside run the unembedding at `positions` [batch, n] only, where the model has one."""
    if positions is None or model.map.unembed is None:
        yield
        return

    def gather(module, args):
        return (pick(args[0], positions), *args[1:])

    handle = model.module.get_submodule(model.map.unembed).register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def pick(value: Tensor, positions: Tensor | None) -> Tensor:
    """[batch, n, ...] of a value [batch, pos, ...]; a value without positions, [batch, d], is one position.

    A value shorter than the stream, whose positions are other ones (blocks of tokens, variates), is taken whole.
    """
    if value.dim() == 2:
        return value[:, None]
    if positions is None or int(positions.max()) >= value.shape[1]:
        return value
    return value[torch.arange(len(value))[:, None], positions]


def _picked(output: Tensor, positions: Tensor | None, done: bool) -> Tensor:
    return pick(output, None if done else positions)
