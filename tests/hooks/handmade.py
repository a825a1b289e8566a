"""A small causal transformer and the same forward written out by hand: the oracle of caches and interventions."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from interp.adapters import At, hook
from interp.hooks import HookedModel

D, HEADS, D_HEAD, VOCAB, CONTEXT = 8, 2, 4, 11, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.up, self.down = nn.Linear(D, 12), nn.Linear(12, D)

    def attend(self, x):
        q, k, v = (f(x).unflatten(-1, (HEADS, D_HEAD)).transpose(1, 2) for f in (self.q, self.k, self.v))
        mask = torch.full((x.shape[1], x.shape[1]), -math.inf, dtype=x.dtype).triu(1)
        pattern = (q @ k.transpose(-1, -2) / math.sqrt(D_HEAD) + mask).softmax(-1)
        return self.o((pattern @ v).transpose(1, 2).flatten(2))

    def forward(self, x):
        x = x + self.attend(x)
        return x + self.down(torch.relu(self.up(x)))


class Net(nn.Module):
    def __init__(self, n_layers=2):
        super().__init__()
        self.embed, self.pos = nn.Embedding(VOCAB, D), nn.Embedding(CONTEXT, D)
        self.blocks = nn.ModuleList(Block() for _ in range(n_layers))
        self.head = nn.Linear(D, VOCAB)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids) + self.pos(torch.arange(input_ids.shape[1]))[None]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


SITES = {
    "hook_embed": "embed",
    "blocks.{d}.hook_resid_pre": "blocks.{d}:in",
    "blocks.{d}.attn.hook_q": At("blocks.{d}.q", heads=HEADS),
    "blocks.{d}.attn.hook_v": At("blocks.{d}.v", heads=HEADS),
    "blocks.{d}.attn.hook_z": At("blocks.{d}.o", "in", heads=HEADS),
    "blocks.{d}.hook_attn_out": "blocks.{d}.o",
    "blocks.{d}.hook_resid_mid": At("blocks.{d}.o", plus="blocks.{d}.hook_resid_pre"),
    "blocks.{d}.mlp.hook_pre": "blocks.{d}.up",
    "blocks.{d}.mlp.hook_post": "blocks.{d}.down:in",
    "blocks.{d}.hook_mlp_out": "blocks.{d}.down",
    "blocks.{d}.hook_resid_post": "blocks.{d}",
}


def build(n_layers: int = 2, dtype: torch.dtype = torch.float64) -> HookedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Net(n_layers).to(dtype)
    equations = {"blocks.{d}": ("resid_mid = resid_pre + attn_out", "resid_post = resid_mid + mlp_out")}
    return hook(module, SITES, equations=equations, input_name="input_ids", causal=True, d_vocab=VOCAB,
                n_ctx=CONTEXT, name="handmade")


def ids(batch: int = 3, n_pos: int = 5, seed: int = 0) -> Tensor:
    return torch.randint(0, VOCAB, (batch, n_pos), generator=torch.Generator().manual_seed(seed))


def literal(module: Net, x: Tensor, put: dict[str, Callable[[Tensor], Tensor]] | None = None):
    """The same forward, line by line: (logits, every value by its site name); `put` replaces values on the way."""
    values: dict[str, Tensor] = {}
    put = put or {}

    def at(name: str, value: Tensor) -> Tensor:
        values[name] = put[name](value) if name in put else value
        return values[name]

    x = at("hook_embed", module.embed.weight[x]) + module.pos.weight[: x.shape[1]]
    n_pos = x.shape[1]
    allowed = torch.ones(n_pos, n_pos, dtype=torch.bool).tril()
    for d, b in enumerate(module.blocks):
        n = f"blocks.{d}."
        x = at(n + "hook_resid_pre", x)
        q, k, v = (x @ f.weight.T + f.bias for f in (b.q, b.k, b.v))
        q = at(n + "attn.hook_q", q.reshape(*x.shape[:2], HEADS, D_HEAD))
        v = at(n + "attn.hook_v", v.reshape(*x.shape[:2], HEADS, D_HEAD))
        k = k.reshape(*x.shape[:2], HEADS, D_HEAD)
        score = torch.einsum("bqhd,bkhd->bhqk", q, k) / D_HEAD**0.5
        weight = torch.where(allowed, score, -torch.inf).exp()
        weight = weight / weight.sum(-1, keepdim=True)
        z = at(n + "attn.hook_z", torch.einsum("bhqk,bkhd->bqhd", weight, v))
        attn = at(n + "hook_attn_out", z.flatten(2) @ b.o.weight.T + b.o.bias)
        mid = at(n + "hook_resid_mid", x + attn)
        post = at(n + "mlp.hook_post", at(n + "mlp.hook_pre", mid @ b.up.weight.T + b.up.bias).clamp(min=0))
        mlp = at(n + "hook_mlp_out", post @ b.down.weight.T + b.down.bias)
        x = at(n + "hook_resid_post", mid + mlp)
    return x @ module.head.weight.T + module.head.bias, values
