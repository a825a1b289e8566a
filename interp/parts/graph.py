"""The graph transformer's block (Dwivedi & Bresson 2020, 2012.09699, sections 2.2 and 2.3): attention among neighbours,
edges that multiply its scores and have a stream of their own, batch norm behind every addition.

    w = e W_E;   p_h = q_h * k_h * w_h / sqrt(d_head);   s_h = sum p_h, keys: neighbours;   z_h = softmax(s_h) v_h
    x = bn(x + z W_o + b_o);   x = bn(x + mlp x)         e = bn(e + p W_p + b_p);   e = bn(e + mlp e)

Shapes: x [batch, node, d_model]; e [batch, pair, d_model], all pairs of nodes, row by row (query, key), those without
an edge too; w and p [batch, head, query, key, d_head]. Surprises: a node does not see itself, only what it gets along
its edges, and one without neighbours receives nothing; what an edge keeps is the product before its sum, so that nodes
write to edges. The authors' last block updates edges that nobody reads any more, which is left out here; and they clamp
scores to [-5, 5] against overflow, which a softmax has no need of.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from interp.hooks.sitemap import NormRef
from interp.hooks.tap import mark
from interp.parts.mlp import Mlp
from interp.parts.stream_batch_norm import StreamBatchNorm

Nodes = Float[Tensor, "batch node d_model"]
Edges = Float[Tensor, "batch pair d_model"]
Near = Bool[Tensor, "batch query key"]  # which keys are neighbours of a query
Rows = list[tuple[str, str]]


class Projection(nn.Linear):
    """A linear map that starts as large as its input: scores are products of three of them, and at inference no norm
    makes a small one larger."""

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Deviation 1 / sqrt(inputs), shift 0."""
        self.weight.normal_(0.0, self.in_features**-0.5, generator=generator)
        if self.bias is not None:
            self.bias.zero_()


class GraphAttention(nn.Module):
    """Attention among neighbours; returns what it adds to the nodes, and the product that its scores are sums of, where
    edges are in it."""

    causal = False

    def __init__(self, d_model: int, n_heads: int, edges: bool):
        super().__init__()
        self.n_heads = n_heads
        self.q, self.k, self.v = (Projection(d_model, d_model, bias=False) for _ in range(3))
        self.o = Projection(d_model, d_model)
        self.edge = Projection(d_model, d_model, bias=False) if edges else None

    def forward(self, x: Nodes, e: Edges | None, near: Near) -> tuple[Nodes, Tensor | None]:
        n = x.shape[1]
        q, k, v = (project(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for project in (self.q, self.k, self.v))
        if e is None:
            product, sums = None, q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        else:
            product = q[:, :, :, None] * k[:, :, None] * q.shape[-1] ** -0.5
            factor = self.edge(e).unflatten(-1, (self.n_heads, -1)).unflatten(1, (n, n)).permute(0, 3, 1, 2, 4)
            product = mark(self, "product", product * mark(self, "edge", factor))
            sums = product.sum(-1)
        hidden = torch.where(near, x.new_zeros(()), torch.finfo(x.dtype).min)[:, None]
        scores = mark(self, "attn_scores", sums + hidden)
        pattern = mark(self, "pattern", torch.softmax(scores, -1) * near[:, None])
        return self.o((pattern @ v).transpose(1, 2).flatten(2)), product

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        if self.edge is not None:
            d.site("attn.hook_edge", path, "edge", heads=self.n_heads)
            d.site("attn.hook_product", path, "product", heads=self.n_heads)
        # rows sum to one but those of nodes without neighbours
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    pattern="unnormalised")

    def equations(self) -> Rows:
        """What it computes: (equation, sites)."""
        d_head = self.q.out_features // self.n_heads
        return [
            ("q_h, k_h, v_h = x W_q, x W_k, x W_v", "attn.hook_q|k|v"),
            *([(f"s_h = q_h k_h^T / sqrt({d_head}), keys: neighbours", "attn.hook_attn_scores")]
              if self.edge is None else [
                ("w_h = e W_E", "attn.hook_edge"),
                (f"p_h = q_h * k_h * w_h / sqrt({d_head})", "attn.hook_product"),
                ("s_h = sum over channels of p_h, keys: neighbours", "attn.hook_attn_scores")]),
            ("A_h = softmax(s_h), 0 without neighbours", "attn.hook_pattern"),
            ("z_h = A_h v_h", "attn.hook_z"),
            ("attn_out = sum_h z_h W_o,h + b_o", "attn.hook_result, hook_attn_out"),
        ]


class _Normed(nn.Module):
    """What both streams have: a branch and an MLP, batch norm behind each addition. `branch` writes first."""

    branch: str

    def __init__(self, d_model: int, d_mlp: int):
        super().__init__()
        self.ln1, self.ln2 = StreamBatchNorm(d_model), StreamBatchNorm(d_model)
        self.mlp = Mlp(d_model, d_mlp, act=nn.ReLU)
        self.mlp.up, self.mlp.down = Projection(d_model, d_mlp), Projection(d_mlp, d_model)

    def _rest(self, x: Tensor, write: Tensor, real: Tensor | None = None) -> Tensor:
        x = self.ln1(x + write, real)
        return self.ln2(x + self.mlp(x), real)

    def _declare(self, d) -> None:
        def norm(name: str) -> NormRef:
            d.role(name, self.ln1.role)
            d.site(f"{name}.hook_scale", name, "scale", axes=("one", "one", "d_model"))
            d.site(f"{name}.hook_normalized", name, "normalized")
            return NormRef(d.at(name), self.ln1.role, d.name(f"{name}.hook_scale"))

        d.site("hook_attn_out", self.branch)
        first = norm("ln1")
        d.site("hook_resid_mid", "ln1")
        self.mlp.declare(d, "mlp")
        d.site("hook_mlp_out", "mlp")
        second = norm("ln2")
        d.site("hook_resid_post", "")
        d.done(d.add("hook_resid_pre", ("hook_attn_out",), "hook_resid_mid", first),
               d.add("hook_resid_mid", ("hook_mlp_out",), "hook_resid_post", second))

    def _equations(self, x: str) -> Rows:
        return [
            (f"resid_mid = {x} = ln1({x} + attn_out)", "hook_resid_mid, ln1.hook_scale|hook_normalized"),
            *self.mlp.equations(x, "mlp_out")[:-1],
            ("mlp_out = post W_down + b_down", "hook_mlp_out"),
            (f"resid_post = {x} = ln2({x} + mlp_out)", "hook_resid_post, ln2.hook_scale|hook_normalized"),
        ]


class NodeBlock(_Normed):
    """One depth of the nodes; hands on what edges keep: the product of its scores."""

    branch = "attn"

    def __init__(self, d_model: int, n_heads: int, d_mlp: int, edges: bool):
        super().__init__(d_model, d_mlp)
        self.attn = GraphAttention(d_model, n_heads, edges)

    def forward(self, x: Nodes, e: Edges | None, near: Near) -> tuple[Nodes, Tensor | None]:
        write, product = self.attn(x, e, near)
        return self._rest(x, write), product

    def declare(self, d) -> None:
        """Its sites and its equation."""
        d.resid_pre()
        self.attn.declare(d, "attn")
        self._declare(d)

    def equations(self) -> Rows:
        """What it computes: (equation, sites)."""
        return [("resid_pre = x", "node: hook_resid_pre"), *self.attn.equations(), *self._equations("x")]


class EdgeBlock(_Normed):
    """One depth of the edges, behind that of the nodes."""

    branch = "o"

    def __init__(self, d_model: int, d_mlp: int):
        super().__init__(d_model, d_mlp)
        self.o = Projection(d_model, d_model)

    def forward(self, e: Edges, product: Float[Tensor, "batch head query key d_head"], near: Near) -> Edges:
        return self._rest(e, self.o(product.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)), near.flatten(1))

    def declare(self, d) -> None:
        """Its sites and its equation."""
        d.resid_pre()
        self._declare(d)

    def equations(self) -> Rows:
        """What it computes: (equation, sites)."""
        return [("resid_pre = e, of all pairs", "edge: hook_resid_pre"), ("attn_out = p W_p + b_p", "hook_attn_out"),
                *self._equations("e")]
