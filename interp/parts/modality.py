"""Mixture-of-Transformers (Liang et al. 2024, 2411.04996): every weight once for each modality, one attention for all.

    q_t, k_t, v_t = u_t W^m(t)_qkv;   z = softmax(q k^T / sqrt(d_head)) v over all tokens;   out_t = z_t W^m(t)_o
    out_t = mlp^m(t)(u_t);   u_t = normalised x_t * w^m(t) + b^m(t)                 m(t) the modality of token t

The modality of a token is a fact (here: which part of the vocabulary it is from), not a choice, so nothing is routed
and nothing drops. Surprises: with equal weights it is the dense model; modalities meet in the attention pattern alone;
and a head has as many output matrices as there are modalities, so there is no `hook_result`.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.roles import Activation, Norm
from interp.hooks.tap import IN, Heads, mark
from interp.parts.context import Context
from interp.parts.positions import Rotary
from interp.parts.spec import Spec

Stream = Float[Tensor, "batch pos d_model"]
N_MODALITIES = 2


def shares(context: Context, d_vocab: int, dtype: torch.dtype) -> Float[Tensor, "modality batch pos 1"]:
    """1 where a token is of a modality: equal parts of the vocabulary, in order."""
    modality = context.ids * N_MODALITIES // d_vocab
    return torch.stack([(modality == m).to(dtype)[..., None] for m in range(N_MODALITIES)])


class Each(nn.Module):
    """One module for each modality; every token goes through its own."""

    def __init__(self, make):
        super().__init__()
        self.of = nn.ModuleList(make() for _ in range(N_MODALITIES))

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        return sum(own * one(x) for own, one in zip(share, self.of))


class Affine(nn.Module):
    """Gain and shift behind a norm that has none."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))

    def initialise(self, std: float, generator: torch.Generator) -> None:
        """Gain 1, shift 0; nothing is drawn."""
        self.weight.fill_(1.0)
        self.bias.zero_()

    def forward(self, x: Stream) -> Stream:
        return x * self.weight + self.bias


class ModalityAttention(nn.Module):
    """Projections of the token's modality around one softmax over all tokens; rotary positions."""

    causal = True

    def __init__(self, spec: Spec):
        super().__init__()
        d, self.n_heads, self.d_head = spec.d_model, spec.n_heads, spec.d_model // spec.n_heads
        self.q, self.k, self.v, self.o = (Each(partial(nn.Linear, d, d)) for _ in range(4))
        self.rotary = Rotary()

    def forward(self, x: Stream, share: Tensor, context: Context) -> Stream:
        q, k, v = (part(x, share).unflatten(-1, (-1, self.d_head)).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = self.rotary(q, context.place), self.rotary(k, context.place)
        z = semantic.attention(q, k, v, bias=context.mask(True, x.dtype), scale=self.d_head**-0.5,
                               mark=partial(mark, self))
        return self.o(z.transpose(1, 2).flatten(2), share)

    def declare(self, d, path: str) -> None:
        """Its sites: those of attention without `hook_result`."""
        for letter in "qkv":
            d.site(f"attn.hook_{letter}", f"{path}.{letter}", view=Heads(self.n_heads), heads=self.n_heads)
        for letter in "qk":
            d.site(f"attn.hook_rot_{letter}", path, f"rot_{letter}", heads=self.n_heads)
        d.site("attn.hook_attn_scores", path, "attn_scores", heads=self.n_heads)
        d.site("attn.hook_pattern", path, "pattern", heads=self.n_heads, pattern="softmax")
        d.site("attn.hook_z", f"{path}.o", IN, Heads(self.n_heads), heads=self.n_heads)
        d.map.absent[d.name("attn.hook_result")] = "the output projection differs by modality: use attn.hook_z"


class ModalityBlock(nn.Module):
    """x += attn(ln1 x); x += mlp(ln2 x), every weight of the token's modality."""

    def __init__(self, spec: Spec):
        super().__init__()
        d, d_mlp, self.d_vocab = spec.d_model, spec.d_mlp or 4 * spec.d_model, spec.d_vocab
        self.ln1, self.ln2 = (nn.LayerNorm(d, eps=1e-5, elementwise_affine=False) for _ in range(2))
        self.affine1, self.affine2 = Each(partial(Affine, d)), Each(partial(Affine, d))
        self.attn = ModalityAttention(spec)
        self.up, self.act, self.down = Each(partial(nn.Linear, d, d_mlp)), nn.GELU(), Each(partial(nn.Linear, d_mlp, d))

    def forward(self, x: Stream, context: Context) -> Stream:
        share = shares(context, self.d_vocab, x.dtype)
        x = mark(self, "mid", x + self.attn(self.affine1(self.ln1(x), share), share, context))
        return x + self.down(self.act(self.up(self.affine2(self.ln2(x), share), share)), share)

    def declare(self, d) -> None:
        """Its sites and the equation of its stream."""
        d.resid_pre()
        d.norm("ln1", "ln1", Norm())
        self.attn.declare(d, "attn")
        d.site("hook_attn_out", "attn")
        d.site("hook_resid_mid", "", "mid")
        d.norm("ln2", "ln2", Norm())
        d.role("act", Activation())
        d.site("mlp.hook_pre", "up")
        d.site("mlp.hook_post", "down", IN)
        d.site("hook_mlp_out", "down")
        d.site("hook_resid_post", "")
        d.pre_norm()

    def equations(self) -> list[tuple[str, str]]:
        """What it computes: (equation, sites)."""
        return [
            ("resid_pre = x", "hook_resid_pre"),
            (f"m = token * {N_MODALITIES} // {self.d_vocab}, the modality of a token", ""),
            ("u = ln1(resid_pre) * w^m + b^m", "ln1.hook_scale|hook_normalized"),
            ("q_h, k_h, v_h = u W^m_q + b^m_q, u W^m_k + b^m_k, u W^m_v + b^m_v", "attn.hook_q|k|v"),
            (f"q_h, k_h = {Rotary.equation} q_h, {Rotary.equation} k_h", "attn.hook_rot_q|rot_k"),
            (f"s_h = q_h k_h^T / sqrt({self.attn.d_head}), key <= query", "attn.hook_attn_scores"),
            ("A_h = softmax(s_h)", "attn.hook_pattern"),
            ("z_h = A_h v_h", "attn.hook_z"),
            ("attn_out = sum_h z_h W^m_o,h + b^m_o", "hook_attn_out"),
            ("resid_mid = resid_pre + attn_out", "hook_resid_mid"),
            ("u = ln2(resid_mid) * w^m + b^m", "ln2.hook_scale|hook_normalized"),
            ("pre = u W^m_up + b^m_up", "mlp.hook_pre"),
            ("post = GELU(pre)", "mlp.hook_post"),
            ("mlp_out = post W^m_down + b^m_down", "hook_mlp_out"),
            ("resid_post = x = resid_mid + mlp_out", "hook_resid_post"),
        ]
