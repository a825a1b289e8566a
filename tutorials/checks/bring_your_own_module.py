"""Checks of notebook 15."""

import torch
from lesson import check
from torch import nn

import interp


class _PostNormLayer(nn.Module):
    def __init__(self, d: int):
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(d), nn.Linear(d, d)

    def forward(self, x):
        return self.norm(x + self.mix(x))


class PostNorm(nn.Module):
    """Two layers that normalise what they have added up."""

    def __init__(self, d: int = 8):
        super().__init__()
        self.layers = nn.ModuleList(_PostNormLayer(d) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@check
def with_mlp(answer, net, sites) -> None:
    """the sites of the MLP"""
    model = interp.hook(net, sites=answer(sites), input_name="input_ids", d_vocab=20)
    rows = torch.randint(20, (2, 6), generator=torch.Generator().manual_seed(0))
    cache = model.read(rows, "blocks.*.mlp.*")
    names = {f"blocks.{depth}.mlp.hook_{kind}" for depth in range(2) for kind in ("pre", "post")}
    assert set(cache) == names, f"the sites {', '.join(sorted(names - set(cache)))} are missing"
    for depth in range(2):
        pre, post = (cache[f"blocks.{depth}.mlp.hook_{kind}"] for kind in ("pre", "post"))
        assert torch.equal(pre.relu(), post), f"in layer {depth} hook_post is not the ReLU of hook_pre"


@check
def hook_post_norm(answer) -> None:
    """a post-norm module with its equation"""
    torch.manual_seed(0)
    model = answer(PostNorm())
    names = {site.name for site in model.sites()}
    for kind in ("resid_pre", "attn_out", "resid_post"):
        assert f"blocks.1.hook_{kind}" in names, f"blocks.1.hook_{kind} is no site of it"
    assert model.map.blocks, "the blocks have no equation"
    found = interp.check_model(model, torch.randn(2, 5, 8))
    laws = {row.law for row in found.rows}
    assert "block" in laws and found.ok, "; ".join(f"{row.law} at {row.where}" for row in found.failures[:3])
    assert all(step.norm is not None for block in model.map.blocks.values() for step in block.steps), "no norm"


@check
def pattern_error(answer, net, sites) -> None:
    """a test that tells q from k"""
    rows = torch.randint(20, (8, 10), generator=torch.Generator().manual_seed(0))
    right = answer(interp.hook(net, sites=sites, input_name="input_ids"), rows)
    assert right < 1e-4, f"with the right table q and k make the pattern, without an error of {right:.2g}"
    q, k = (f"blocks.{{d}}.attn.hook_{letter}" for letter in "qk")
    wrong = answer(interp.hook(net, sites=sites | {q: sites[k], k: sites[q]}, input_name="input_ids"), rows)
    assert wrong > 0.05, f"with q and k exchanged the error should be large, not {wrong:.2g}"
