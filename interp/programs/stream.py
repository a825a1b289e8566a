"""The stream of named variables, feature-first, and what an operator writes to it."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Stream(NamedTuple):
    """All variables at every position: one-hots one under the other, and numbers. Not yet written ones are zero."""

    symbols: Float[Tensor, "symbol_row batch pos"]
    numbers: Float[Tensor, "number_row batch pos"]

    def repeat_batch(self, times: int) -> "Stream":
        """The whole batch `times` times, one after another: how effects fold sources into it."""
        return Stream(*(rows.repeat(1, times, 1) for rows in self))


class Write(NamedTuple):
    """Rows to be added to a stream: one-hots from row `at` on, numbers from row `numbers_at` on, or neither."""

    at: int = 0
    symbols: Float[Tensor, "row batch pos"] | None = None
    numbers_at: int = 0
    numbers: Float[Tensor, "row batch pos"] | None = None

    def onto(self, stream: Stream) -> Stream:
        """The stream with these rows added."""
        symbols, numbers = stream
        if self.symbols is not None:
            symbols = add_rows(symbols, self.symbols, self.at)
        if self.numbers is not None:
            numbers = add_rows(numbers, self.numbers, self.numbers_at)
        return Stream(symbols, numbers)


def add_rows(stream: Tensor, rows: Tensor, at: int) -> Tensor:
    """The stream with `rows` added from row `at` on."""
    if type(stream) is type(rows) is Tensor:
        return _AddRows.apply(stream, rows, at)
    end = at + len(rows)  # the effects engines' own kind of tensor, which goes through plain functions only
    return torch.cat([stream[:at], stream[at:end] + rows, stream[end:]])


class _AddRows(torch.autograd.Function):
    """stream[at : at + len(rows)] += rows, on a copy. Its gradients are the one it gets and a view of that; padding
    and adding took a third of a training step."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, rows: Tensor, at: int) -> Tensor:
        ctx.rows = slice(at, at + len(rows))
        out = stream.clone()
        out[ctx.rows] += rows
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        return grad, grad[ctx.rows], None


class _Read(torch.autograd.Function):
    """gate @ the first rows of the stream, [gate, value * batch * pos]; the gradient is written in one go."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, gate: Tensor, values: int) -> Tensor:
        rows = stream[: gate.shape[1] * values].view(gate.shape[1], -1)
        ctx.save_for_backward(rows, gate)
        ctx.shape = stream.shape
        return gate @ rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, gate = ctx.saved_tensors
        to_stream = grad.new_empty(ctx.shape)
        used = to_stream.view(-1)[: rows.numel()]
        torch.mm(gate.T, grad, out=used.view(rows.shape))
        to_stream.view(-1)[rows.numel() :].zero_()
        return to_stream, grad @ rows.T, None


def read(
    rows: Float[Tensor, "row batch pos"], gate: Float[Tensor, "gate variable"], values: int
) -> Float[Tensor, "gate value batch pos"]:
    """The variable of `values` rows that each gate points at, counted from the first.

    One matrix product for all gates: that is what the feature-first order is for.
    """
    if type(rows) is Tensor:
        found = _Read.apply(rows, gate, values)
    else:
        found = gate @ rows[: gate.shape[1] * values].reshape(gate.shape[1], -1)
    return found.view(gate.shape[0], values, *rows.shape[1:])
