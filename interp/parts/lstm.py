"""Long short-term memory (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000).

    i, f, o = sigmoid(x_t W + h_t-1 U + b)        g = tanh(x_t W + h_t-1 U + b)            each [batch, pos, d_model]
    c_t = f_t * c_t-1 + i_t * g_t                 h_t = o_t * tanh(c_t)                    c_-1 = h_-1 = 0

A block hands h on and keeps nothing of its input, as layers of an LSTM are stacked. The recurrence runs once for h,
then the gates of all tokens once more from it: an edited h_t acts on the gates of token t + 1, an edited gate or write
on every later cell, and the gates behind stay as they were. Surprises: given its gates the cell is linear in what is
written, so that it has a mixing matrix, one for each channel; and with the forget gates near 1 it is a plain sum.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]
GATES = ("input", "forget", "output")


class Lstm(nn.Module):
    """One LSTM layer of width d_model; blind to padding on the left. Marks gates, candidate, write, cell, hidden."""

    causal = True

    def __init__(self, spec: Spec):
        super().__init__()
        d = spec.d_model
        self.of_input = nn.Parameter(torch.zeros(4 * d, d))  # input, forget, output, candidate
        self.of_hidden = nn.Parameter(torch.zeros(4 * d, d))
        self.bias = nn.Parameter(torch.zeros(4 * d))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Weights uniform within 1 / sqrt(d_model), torch's own start; the forget gate's bias 1 (Jozefowicz et al.
        2015, An empirical exploration of recurrent network architectures)."""
        bound = self.of_input.shape[1] ** -0.5
        for weight in (self.of_input, self.of_hidden):
            weight.uniform_(-bound, bound, generator=generator)
        self.bias.zero_()
        self.bias.chunk(4)[1].fill_(1.0)

    def forward(self, x: Stream, context: Context) -> Stream:
        real = context.weight(x.dtype)[..., None]
        read = nn.functional.linear(x, self.of_input, self.bias)
        hidden = mark(self, "hidden", self._run(read, real))
        before = nn.functional.pad(hidden, (0, 0, 1, 0))[:, :-1]
        *gates, candidate = (read + nn.functional.linear(before, self.of_hidden)).chunk(4, -1)
        entry, forget, exit_ = (mark(self, name, torch.sigmoid(gate)) for name, gate in zip(GATES, gates))
        candidate = mark(self, "candidate", torch.tanh(candidate))
        write = mark(self, "write", entry * candidate * real)
        cell, cells = torch.zeros_like(write[:, 0]), []
        for t in range(x.shape[1]):
            cell = forget[:, t] * cell + write[:, t]
            cells.append(cell)
        return exit_ * torch.tanh(mark(self, "cell", torch.stack(cells, 1)))

    def _run(self, read: Tensor, real: Tensor) -> Stream:
        """h of every token, one after the other."""
        hidden = cell = torch.zeros_like(read[:, 0, : self.of_input.shape[1]])
        out = []
        for t in range(read.shape[1]):
            gates = read[:, t] + nn.functional.linear(hidden, self.of_hidden)
            entry, forget, exit_, candidate = gates.chunk(4, -1)
            write = torch.sigmoid(entry) * torch.tanh(candidate) * real[:, t]
            cell = torch.sigmoid(forget) * cell + write
            hidden = torch.sigmoid(exit_) * torch.tanh(cell)
            out.append(hidden)
        return torch.stack(out, 1)


class LstmBlock(nn.Module):
    """One LSTM layer as a block: its hidden states take the place of the stream."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.lstm = Lstm(spec)

    def forward(self, x: Stream, context: Context) -> Stream:
        return self.lstm(x, context)

    def declare(self, d) -> None:
        """Its sites; nothing is kept of the stream."""
        d.resid_pre()
        for point in ("hidden", *GATES, "candidate", "write", "cell"):
            d.site(f"lstm.hook_{point}", "lstm", point)
        d.site("hook_mixer_out", "lstm")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_mixer_out",), "hook_resid_post", keep=0.0), mixing=mixing,
               mixes=("lstm.hook_write", "lstm.hook_cell"))

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            ("i, f, o = sigmoid(resid_pre_t W + h_t-1 U + b), one W, U, b each", "lstm.hook_input|forget|output"),
            ("g = tanh(resid_pre_t W_g + h_t-1 U_g + b_g)", "lstm.hook_candidate"),
            ("c_t = f_t * c_t-1 + i_t * g_t", "lstm.hook_write, lstm.hook_cell"),
            ("mixer_out = h_t = o_t * tanh(c_t)", "lstm.hook_hidden, hook_mixer_out"),
            ("resid_post = x = mixer_out", "hook_resid_post"),
        ]


def mixing(block: nn.Module, cache, prefix: str) -> Float[Tensor, "batch channel query key"]:
    """What takes `lstm.hook_write` to `lstm.hook_cell`: the product of the forget gates between key and query."""
    kept = cache[f"{prefix}.lstm.hook_forget"].log().cumsum(1).transpose(1, 2)
    return (kept[..., :, None] - kept[..., None, :]).clamp(max=0).exp().tril()
