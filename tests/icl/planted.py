"""Models that are known inside: a plain module whose block j writes what an algorithm's step j would answer."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import interp
from interp.hooks import HookedModel

Solve = Callable[[Tensor, Tensor], Tensor]


class Write(nn.Module):
    """What a block adds to the coordinate of answers: the step `after` instead of what stands there ("overwrite"), the
    difference to the step `before` ("add"), or a share of the way to the solution ("approach")."""

    def __init__(self, d: int, solve: Solve, before: int, after: int, way: str, rate: float = 0.5):
        super().__init__()
        self.d, self.solve, self.before, self.after, self.way, self.rate = d, solve, before, after, way, rate

    def forward(self, h: Tensor) -> Tensor:
        xs, ys = h[:, ::2, : self.d], h[:, 1::2, 0]
        said = self.solve(xs, ys)
        there = h[:, ::2, -1]
        if self.way == "approach":
            change = self.rate * (said[-1] - there)
        else:
            change = said[self.after] - (there if self.way == "overwrite" else said[self.before])
        out = torch.zeros_like(h)
        out[:, ::2, -1] = change.to(h)
        return out


class Block(nn.Module):
    def __init__(self, write: Write):
        super().__init__()
        self.write = write

    def forward(self, h: Tensor) -> Tensor:
        return h + self.write(h)


class Solver(nn.Module):
    """Tokens of the interleaved layout in, the last block's answer at every token out; stream: token, answer.

    The embedding says step `start`, or nothing (None)."""

    def __init__(self, d: int, solve: Solve, steps: list[int], way: str = "add", start: int | None = 0):
        super().__init__()
        self.d_input = d
        self.embed = nn.Identity()
        self.blocks = nn.ModuleList(
            Block(Write(d, solve, a, b, way)) for a, b in zip([start, *steps], steps))
        self.start, self.solve = start, solve
        self.scale = nn.Parameter(torch.ones(()))  # a device and a type to be found

    def forward(self, tokens: Tensor) -> Tensor:
        h = torch.nn.functional.pad(self.embed(tokens), (0, 1))
        if self.start is not None:
            xs, ys = tokens[:, ::2], tokens[:, 1::2, 0]
            h[:, ::2, -1] = self.solve(xs, ys)[self.start].to(h)
        for block in self.blocks:
            h = block(h)
        return self.scale * h[..., -1:]


def solver(d: int, solve: Solve, steps: list[int], way: str = "add", start: int | None = 0) -> HookedModel:
    """A hooked `Solver` in float64, so that nothing is lost between steps."""
    module = Solver(d, solve, steps, way, start).double().eval()
    return interp.hook(
        module,
        sites={"blocks.{d}.hook_resid_pre": "blocks.{d}:in", "blocks.{d}.hook_mixer_out": "blocks.{d}.write",
               "blocks.{d}.hook_resid_post": "blocks.{d}"},
        equations={"blocks.{d}": "resid_post = resid_pre + mixer_out"},
        causal=True, name="planted",
    )
