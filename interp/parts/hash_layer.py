"""Tables in the place of linear maps (MemoryFormer; Ding et al. 2024, 2411.12992, section 3).

    x = [z_1 ... z_K]                           chunks of `bits` numbers
    i_k = sum_j 2^j [z_kj > 0]                  bucket: which corner of the cube the chunk is nearest to
    p_k = prod_j sigmoid(2 |z_kj| / tau)        its share in a softmax over all 2^bits corners s, of s . z_k / tau
    out = sum_k p_k T_k[i_k]                    T_k [2^bits, d_out] learned

Shapes: x [batch, pos, d_in], i [batch, pos, chunk], out [batch, pos, d_out]. Buckets are integers, codes that were
there without a codebook. Surprises: gradients reach x only through p, never through the choice; out jumps where a
number changes sign, by the difference of two rows at half weight or less; nothing is multiplied by a weight at all
(here it is, by zeros: on a CPU one product is ten times as fast as gathering rows).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.tap import mark
from interp.parts.attention import Attention
from interp.parts.context import Context
from interp.parts.spec import Spec
from interp.results.errors import BadInput


class HashLayer(nn.Module):
    """One such layer. `d_in` is a multiple of `bits`; `tau` is the temperature of the share."""

    bias = None

    def __init__(self, d_in: int, d_out: int, bits: int = 4, tau: float = 1.0):
        super().__init__()
        if d_in % bits:
            raise BadInput(f"{d_in} numbers do not split into chunks of {bits}; make d_model and d_mlp multiples of it")
        self.bits, self.tau = bits, tau
        self.tables = nn.Parameter(torch.empty(d_in // bits, 2**bits, d_out))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        self.tables.normal_(0.0, std, generator=generator)

    def forward(self, x: Float[Tensor, "batch pos d_in"]) -> Float[Tensor, "batch pos d_out"]:
        z = x.unflatten(-1, (-1, self.bits))
        power = 2 ** torch.arange(self.bits, device=x.device)
        bucket = mark(self, "bucket", ((z > 0) * power).sum(-1))
        share = mark(self, "share", torch.sigmoid(2 * z.abs() / self.tau).prod(-1))
        # one product with shares at the chosen rows and zeros elsewhere: gathered rows are pos * chunk * d_out numbers
        chosen = torch.zeros(*share.shape, 2**self.bits, dtype=share.dtype, device=x.device)
        chosen = chosen.scatter(-1, bucket[..., None], share[..., None])
        return chosen.flatten(-2) @ self.tables.flatten(0, 1)


class HashAttention(Attention):
    """Causal softmax attention whose four projections are hash layers."""

    def __init__(self, spec: Spec):
        super().__init__(spec.d_model, spec.n_heads, bias=False)
        for name in "qkvo":
            setattr(self, name, HashLayer(spec.d_model, spec.d_model))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block. Heads do not write separately: the output layer is not linear in them."""
        for name in "qkv":
            _points(d, "attn", f"_{name}", f"{path}.{name}")
        d.attention(path, q=f"{path}.q", k=f"{path}.k", v=f"{path}.v", out=f"{path}.o", heads=self.n_heads,
                    result=False)
        _points(d, "attn", "_o", f"{path}.o")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        rows = super().equations(x, y)
        layer = "H(x) = sum_k share_k T_k[bucket_k], a chunk of x each"
        return [(f"q_h, k_h, v_h = H_q({x}), H_k({x}), H_v({x}), {layer}",
                 "attn.hook_q|k|v, attn.hook_bucket_q|k|v, attn.hook_share_q|k|v"), *rows[1:-1],
                (f"{y} = H_o(z)", "attn.hook_bucket_o, attn.hook_share_o")]


class HashMlp(nn.Module):
    """Two hash layers with a norm between them in the place of a nonlinearity: signs and shares are one already."""

    def __init__(self, spec: Spec):
        super().__init__()
        hidden = spec.d_mlp or 4 * spec.d_model
        self.up, self.down = HashLayer(spec.d_model, hidden), HashLayer(hidden, spec.d_model)
        self.norm = nn.LayerNorm(hidden)

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], context: Context | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        return self.down(self.norm(self.up(x)))

    def declare(self, d, path: str) -> None:
        """Its sites, at `path` of a block."""
        _points(d, "mlp", "_up", f"{path}.up")
        d.site("mlp.hook_pre", f"{path}.up")
        d.site("mlp.hook_post", f"{path}.norm")
        _points(d, "mlp", "_down", f"{path}.down")

    def equations(self, x: str, y: str) -> list[tuple[str, str]]:
        """What it computes from `x` to `y`: (equation, sites)."""
        return [(f"pre = H_up({x})", "mlp.hook_pre, mlp.hook_bucket_up, mlp.hook_share_up"),
                ("post = LN(pre)", "mlp.hook_post"),
                (f"{y} = H_down(post)", "mlp.hook_bucket_down, mlp.hook_share_down")]


def _points(d, word: str, end: str, path: str) -> None:
    d.site(f"{word}.hook_bucket{end}", path, "bucket")
    d.site(f"{word}.hook_share{end}", path, "share")
