"""The stream of a model behind every depth, as rows: what similarity, maps, phases and dynamics are computed from."""

from dataclasses import dataclass

import torch
from torch import Tensor

from interp.hooks.model import HookedModel, Inputs
from interp.lens.stream import points, real_tokens
from interp.results.errors import BadInput


@dataclass(frozen=True, eq=False)
class Streams:
    """Streams at depth points 0 (what enters the first block) to L (behind the last).

    `values[l]` [row, d_model], float32; `prompt` [row], which prompt a row is of; `place` [row], its position counted
    from the first real token. Depth points may differ in width, not in rows.
    """

    values: list[Tensor]
    prompt: Tensor
    place: Tensor
    name: str = ""

    @property
    def points(self) -> int:
        """Number of depth points, L + 1."""
        return len(self.values)

    def pooled(self) -> "Streams":
        """The mean over the tokens of every prompt: rows of two tokenizers then stand side by side."""
        n = int(self.prompt.max()) + 1
        counts = torch.bincount(self.prompt, minlength=n)[:, None]
        means = [torch.zeros(n, v.shape[-1]).index_add_(0, self.prompt, v) / counts for v in self.values]
        return Streams(means, torch.arange(n), torch.zeros(n, dtype=torch.long), self.name)

    def rows(self, chosen: Tensor) -> "Streams":
        """Some of the rows, by index or mask."""
        return Streams([v[chosen] for v in self.values], self.prompt[chosen], self.place[chosen], self.name)


def streams(model: HookedModel, x: Inputs) -> Streams:
    """The streams of real tokens for `x`, rows prompt by prompt, of the blocks that `interp.lens.stream` follows.

    Raises RequiresResidualStream for a model without equations, BadInput where depths differ in their positions.
    """
    sites = points(model)
    cache = model.read(x, list(dict.fromkeys(sites)))
    shapes = {tuple(cache[s].shape[:-1]) for s in sites}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise BadInput(f"the depths of {model.name} have positions {sorted(shapes)}; streams of equal positions "
                       "[batch, pos] are needed")
    real = real_tokens(model, x, cache[sites[0]])
    place = (real.cumsum(1) - 1)[real]
    prompt = torch.arange(len(real))[:, None].expand_as(real)[real]
    return Streams([cache[s].float().cpu()[real] for s in sites], prompt, place, model.name)
