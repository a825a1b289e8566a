"""Reversed attention (DependencyViT; Ding et al. 2023, 2304.03282, section 3): tokens send where attention fetches.

    P_ij = softmax_j(q_i . k_j / sqrt(d_head))           child i chooses among parents j: rows sum to one
    m_i = sigmoid(x_i w + b)                             how much i sends at all
    z_j = sum_i m_i P_ij v_i                             parent j receives what children send it: P transposed

Shapes: P [batch, head, child, parent], m [batch, pos], z [batch, pos, head, d_head]. Sites: `attn.hook_send` is P, and
`attn.hook_pattern` what is applied to values, [batch, head, receiver, sender]: its *columns* sum to m. Surprises: a
token nobody sends to receives nothing at all (a softmax over keys always fetches something), and one that all send to
receives without bound. The paper's head selector and its pruning schedule are not here.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.spec import Spec


class ReversedAttention(nn.Module):
    """One such sublayer, bidirectional; padding neither sends nor receives."""

    causal = False

    def __init__(self, spec: Spec):
        super().__init__()
        d, self.n_heads = spec.d_model, spec.n_heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.message = nn.Linear(d, 1)

    def forward(self, x: Float[Tensor, "batch pos d_model"], context: Context) -> Float[Tensor, "batch pos d_model"]:
        q, k, v = (project(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for project in (self.q, self.k, self.v))
        scores = semantic.scores(q, k, bias=context.mask(False, x.dtype), scale=q.shape[-1] ** -0.5)
        send = mark(self, "send", torch.softmax(mark(self, "attn_scores", scores), -1))
        message = torch.sigmoid(self.message(x))[..., 0] * context.weight(x.dtype)
        message = mark(self, "message", message)
        pattern = mark(self, "pattern", (send * message[:, None, :, None]).transpose(-1, -2))
        return self.o((pattern @ v).transpose(1, 2).flatten(2))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        d.site("attn.hook_send", path, "send", heads=self.n_heads, pattern="softmax")
        d.site("attn.hook_message", path, "message")
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    pattern="unnormalised")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [
            (f"q_h, k_h, v_h = {x} W_q + b_q, {x} W_k + b_k, {x} W_v + b_v", "attn.hook_q|k|v"),
            (f"s_h = q_h k_h^T / sqrt({self.q.out_features // self.n_heads})", "attn.hook_attn_scores"),
            ("P_h = softmax(s_h), children by parents", "attn.hook_send"),
            (f"m = sigmoid({x} w + b)", "attn.hook_message"),
            ("A_h = (m * P_h)^T", "attn.hook_pattern"),
            ("z_h = A_h v_h", "attn.hook_z"),
            (f"{y} = sum_h z_h W_o,h + b_o", "attn.hook_result"),
        ]


def dependency_tree(send: Float[Tensor, "child parent"]) -> list[int]:
    """Parent of every token in the tree with the largest product of what its children send; the root's is -1.

    A maximum spanning arborescence (Edmonds 1967) of logarithms, over all roots: acyclic by construction, where the
    largest entry of each row alone need not be.
    """
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(send)))
    weights = send.double().clamp(min=1e-30).log().tolist()
    graph.add_weighted_edges_from((parent, child, weights[child][parent]) for child in range(len(send))
                                  for parent in range(len(send)) if child != parent)
    tree = networkx.maximum_spanning_arborescence(graph) if len(send) > 1 else graph
    parents = [-1] * len(send)
    for parent, child in tree.edges:
        parents[child] = parent
    return parents


def parts_of(parents: list[int], send: Float[Tensor, "child parent"], n_parts: int) -> list[int]:
    """Number of its part for every token: the tree cut at the `n_parts` - 1 edges that are sent least over."""
    edges = sorted((float(send[child, parent]), child) for child, parent in enumerate(parents) if parent >= 0)
    cut = {child for _, child in edges[: n_parts - 1]}
    heads: list[int] = []
    for token in range(len(parents)):
        while parents[token] >= 0 and token not in cut:
            token = parents[token]
        heads.append(token)
    return [sorted(set(heads)).index(head) for head in heads]
