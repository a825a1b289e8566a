"""Mixture of experts in place of the MLP (Shazeer et al. 2017, 1701.06538; as in WideNet, Xue et al. 2021, 2107.11817).

    p = softmax(x W_r);   out = sum over the k largest p_e of p_e * expert_e(x)       x, out [batch, pos, d_model]

Expert e is an MLP of its own. Weights are not made to sum to one again. Every expert is computed for every token here,
and those that were not chosen weigh nothing: at these sizes that is quicker than sending tokens around, and their sites
are there to look at. Surprise: the choice itself has no gradient, the router learns through the weights of the chosen.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.roles import Activation
from interp.hooks.tap import mark
from interp.parts.context import Context
from interp.parts.spec import Spec


class Experts(nn.Module):
    """`n_experts` MLPs side by side, of which a router gives each token `k`."""

    def __init__(self, d_model: int, d_mlp: int, n_experts: int = 4, k: int = 2):
        super().__init__()
        self.k = k
        self.router = nn.Linear(d_model, n_experts, bias=False)
        self.up = nn.Parameter(torch.zeros(n_experts, d_model, d_mlp))
        self.up_bias = nn.Parameter(torch.zeros(n_experts, d_mlp))
        self.act = nn.GELU()
        self.down = nn.Parameter(torch.zeros(n_experts, d_mlp, d_model))
        self.down_bias = nn.Parameter(torch.zeros(n_experts, d_model))

    @classmethod
    def of(cls, spec: Spec, **options) -> "Experts":
        """The experts of a spec, each as wide as its MLP would be."""
        return cls(spec.d_model, spec.d_mlp or 4 * spec.d_model, **options)

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Projections normal, biases 0."""
        for weight in (self.up, self.down):
            weight.normal_(0.0, std, generator=generator)
        self.up_bias.zero_(), self.down_bias.zero_()

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        logits = mark(self, "logits", self.router(x))
        choice = mark(self, "choice", logits.topk(self.k, dim=-1).indices)
        chosen = torch.zeros(logits.shape, dtype=x.dtype).scatter(-1, choice, 1.0)
        weight = mark(self, "weight", torch.softmax(logits, -1) * chosen)
        pre = mark(self, "pre", torch.einsum("bpd,edf->bpef", x, self.up) + self.up_bias)
        post = mark(self, "post", self.act(pre))
        out = mark(self, "out", torch.einsum("bpef,efd->bped", post, self.down) + self.down_bias)
        return (weight[..., None] * out).sum(-2)

    def declare(self, d, path: str) -> None:
        """Sites of the router and of the experts."""
        d.role(f"{path}.act", Activation())
        for point in ("logits", "choice", "weight"):
            d.site(f"router.hook_{point}", path, point)
        for point in ("pre", "post", "out"):
            d.site(f"expert.hook_{point}", path, f"{point}")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        n = self.router.out_features
        return [
            (f"p = softmax({x} W_r), experts e = 0 .. {n - 1}", "router.hook_logits"),
            (f"p_e = 0 but for the {self.k} largest", "router.hook_choice|weight"),
            (f"pre_e = {x} W_up,e + b_up,e", "expert.hook_pre"),
            (f"post_e = {type(self.act).__name__}(pre_e)", "expert.hook_post"),
            (f"{y} = sum_e p_e (out_e = post_e W_down,e + b_down,e)", "expert.hook_out"),
        ]
