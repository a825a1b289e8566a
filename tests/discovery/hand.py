"""A model whose circuit is known because it was written by hand, and the same model as plain Python.

    z_h   = bit that head h carries                    heads 0 and 1 both carry bit 0 (one backs the other up),
                                                       head 2 bit 1, head 3 bit 2 (active, read by nobody), head 4 bit 3
    mlp0  = 3 OR(z0, z1) + 2 AND(z2, z4)               ReLUs: OR(a, b) = r(a + b) - r(a + b - 1), AND = r(a + b - 1)
    mlp1  = z3 on a direction that the output ignores
    logit difference = mlp0
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

from interp.adapters import At, hook
from interp.hooks import HookedModel
from interp.results import Node
from interp.tasks.metrics import LogitDiff
from interp.tasks.task import Task

CARRIES = (0, 0, 1, 2, 3)
HEADS = tuple(Node("blocks.0.attn.hook_z", head=h) for h in range(5))
MLP0, MLP1 = Node("blocks.0.hook_mlp_out"), Node("blocks.1.hook_mlp_out")
UNIVERSE = (*HEADS, MLP0, MLP1)
WIDTH = 8  # stream: 0 the bit, 1 to 5 heads, 6 the answer, 7 ignored


class Heads(nn.Module):
    """Head h moves the bit of one position to every position; `out` writes it to direction 1 + h."""

    def __init__(self, carries):
        super().__init__()
        self.carries = list(carries)
        self.out = nn.Linear(len(self.carries), len(self.carries), bias=False)
        nn.init.eye_(self.out.weight)

    def forward(self, x):
        z = x[:, self.carries, 0][:, None].expand(-1, x.shape[1], -1)
        return torch.nn.functional.pad(self.out(z), (1, WIDTH - 1 - len(self.carries)))


class Mlp(nn.Module):
    """W2 relu(W1 x + b)."""

    def __init__(self, rows, biases, to, weights):
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, len(rows)), nn.Linear(len(rows), WIDTH, bias=False)
        with torch.no_grad():
            self.up.weight.zero_()
            self.down.weight.zero_()
            for unit, (inputs, bias, weight) in enumerate(zip(rows, biases, weights)):
                self.up.weight[unit, inputs] = 1
                self.up.bias[unit] = bias
                self.down.weight[to, unit] = weight

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


class Block(nn.Module):
    def __init__(self, attn, mlp):
        super().__init__()
        self.attn, self.mlp = attn, mlp

    def forward(self, x):
        x = x + self.attn(x) if self.attn is not None else x
        return x + self.mlp(x)


class Hand(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(2, WIDTH)
        self.blocks = nn.ModuleList([
            Block(Heads(CARRIES), Mlp([[1, 2], [1, 2], [3, 5]], [0, -1, -1], 6, [3, -3, 2])),
            Block(None, Mlp([[4]], [0], 7, [1])),
        ])
        self.unembed = nn.Linear(WIDTH, 2, bias=False)
        with torch.no_grad():
            self.embed.weight.zero_()
            self.embed.weight[1, 0] = 1
            self.unembed.weight.zero_()
            self.unembed.weight[0, 6] = 1

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.unembed(x)


def hand_model() -> HookedModel:
    return hook(
        Hand().double().eval(), name="hand", input_name="ids",
        sites={
            "hook_embed": "embed",
            "blocks.{d}.hook_resid_pre": "blocks.{d}:in",
            "blocks.0.attn.hook_z": At("blocks.0.attn.out", "in", heads=5),
            "blocks.0.hook_attn_out": "blocks.0.attn",
            "blocks.{d}.hook_mlp_out": "blocks.{d}.mlp",
            "blocks.{d}.hook_resid_post": "blocks.{d}",
        },
        equations={"": "blocks.0.hook_resid_pre = hook_embed",
                   "blocks.0": "resid_post = resid_pre + attn_out + mlp_out",
                   "blocks.1": "resid_post = resid_pre + mlp_out"},
    )


def bits(n: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 2, (n, 4), generator=torch.Generator().manual_seed(seed))


def task_of(clean: torch.Tensor, corrupt: torch.Tensor, clusters=None) -> Task:
    """Half of the prompts to find, a quarter each to choose and to test."""
    n = len(clean)
    zeros = torch.zeros(n, dtype=torch.long)
    parts = np.array_split(np.arange(n), [n // 2, n // 2 + n // 4])
    table = pd.DataFrame({"clean": [str(row) for row in clean.tolist()]})
    clusters = np.arange(n) if clusters is None else clusters
    metric = LogitDiff(zeros + 3, zeros, zeros + 1)
    return Task("logic", clean, corrupt, metric, table, clusters, dict(zip(("discover", "select", "test"), parts)))


def on_off(n: int = 16) -> Task:
    """Every bit on in clean prompts, off in corrupt ones: m(M) = 5 and m(empty) = 0."""
    return task_of(torch.ones(n, 4, dtype=torch.long), torch.zeros(n, 4, dtype=torch.long))


def mixed(n: int = 64) -> Task:
    """Random bits: clean prompts are mostly on, corrupt ones mostly off."""
    return task_of(bits(n, 0) | bits(n, 1), bits(n, 2) & bits(n, 3))


def oracle(task: Task, removed) -> np.ndarray:
    """[prompt]: the metric with `removed` at the corrupt prompt's activations, in plain Python."""
    return np.array([_logic(c, k, set(removed)) for c, k in zip(task.clean.tolist(), task.corrupt.tolist())])


def _logic(clean, corrupt, removed) -> float:
    z = [(corrupt if HEADS[h] in removed else clean)[bit] for h, bit in enumerate(CARRIES)]
    z = [corrupt[bit] for bit in CARRIES] if MLP0 in removed else z
    return 3.0 * (z[0] or z[1]) + 2.0 * (z[2] and z[4])
