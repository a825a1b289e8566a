"""Wrong answers to notebook 15: checking function -> arguments that it must reject."""

import torch
from torch import nn

import interp
from interp.adapters.torch import At
from interp.hooks.tap import mark


class _Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24, bias=False), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        hidden = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        pattern = mark(self, "pattern", (3 * q @ k.mT).masked_fill(hidden, -torch.inf).softmax(-1)[:, None])
        return self.out(pattern[:, 0] @ v)


class _Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.up, self.down = _Mix(), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        return x + self.mix(x) + self.down(torch.relu(self.up(x)))


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.layers = nn.Embedding(20, 8), nn.ModuleList(_Layer() for _ in range(2))

    def forward(self, input_ids):
        x = self.embed(input_ids)
        for layer in self.layers:
            x = layer(x)
        return x


torch.manual_seed(0)
NET = _Net()
SITES: dict[str, str | At] = {f"blocks.{{d}}.attn.hook_{name}": At("layers.{d}.mix.qkv", heads=1, part=i, parts=3)
                              for i, name in enumerate("qkv")}
SITES["blocks.{d}.attn.hook_pattern"] = At("layers.{d}.mix", "pattern", heads=1)


def _without_norm(module):
    sites = {"blocks.{d}.hook_resid_pre": "layers.{d}:in", "blocks.{d}.hook_attn_out": "layers.{d}.mix",
             "blocks.{d}.hook_resid_post": "layers.{d}"}
    equations = {"blocks.{d}": "resid_post = resid_pre + attn_out"}
    return interp.hook(module, sites=sites, equations=equations, input_name="x")


def _no_equation(module):
    sites = {"blocks.{d}.hook_resid_pre": "layers.{d}:in", "blocks.{d}.hook_attn_out": "layers.{d}.mix",
             "blocks.{d}.hook_resid_post": "layers.{d}"}
    return interp.hook(module, sites=sites, input_name="x")


WRONG = {
    "with_mlp": [
        (lambda sites: sites | {f"blocks.{{d}}.mlp.hook_{kind}": f"layers.{{d}}.{path}"
                                for kind, path in (("pre", "up"), ("post", "down"))}, NET, SITES),  # the output of down
        (lambda sites: sites, NET, SITES),
    ],
    "hook_post_norm": [(_without_norm,), (_no_equation,)],
    "pattern_error": [(lambda model, rows: 0.0, NET, SITES), (lambda model, rows: 1.0, NET, SITES)],
}
