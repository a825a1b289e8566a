"""Attention that is no plain softmax of q k, the rest as in GPT (or in `attn-only-rotary`, one branch a block).

    sigmoid     A = sigmoid(s - log n_ctx)                          no key competes with another
    urpe        A = softmax(s + B[t - u]) * C[t - u]                no other positions
    aaren       s_u = q . k_u with q learned, the same for all t    a recurrent network that trains in parallel
    momentum    q, k += gamma * (their change since t - 1)          behind rotary; one layer can do induction
    smeared-keys, short-conv-keys, token-shift                      its controls: other ways to see the token before
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member, sized
from interp.architectures.gpt import ATTN, ATTN_ONLY, GPT, MLP
from interp.parts.aaren import Aaren
from interp.parts.attention import Attention
from interp.parts.filters import Momentum, ShortConv, Smear, TokenShift
from interp.parts.positions import Rotary
from interp.parts.spec import SIZES, Spec
from interp.parts.weights import Sigmoid, Urpe

SIGMOID = replace(GPT, block=(replace(ATTN, op=partial(Attention.of, weights=Sigmoid)), MLP))
URPE = replace(GPT, block=(replace(ATTN, op=partial(Attention.of, weights=Urpe)), MLP), position=None)
AAREN = replace(GPT, block=(replace(ATTN, op=Aaren), MLP))


def filtered(**options) -> Spec:
    """`attn-only-rotary` with these options of its attention: `filter` or `shift`."""
    branch = replace(ATTN_ONLY.block[0], op=partial(Attention.of, **options))
    return replace(ATTN_ONLY, block=(branch,), position=Rotary)


def momentum(gamma: float, **sizes: int | None) -> Spec:
    """`attn-only-rotary` whose queries and keys know `gamma` times their change; 0 is plain attention."""
    return replace(filtered(filter=partial(Momentum, gamma=gamma)), **sizes)


_attention = partial(member, family="attention")
_MOMENTUM = {size: getattr(ATTN_ONLY, size) for size in SIZES} | {"gamma": 0.5}

MEMBERS: tuple[Entry, ...] = (
    _attention("sigmoid-attention", "GPT with sigmoid attention", SIGMOID, paper=52,
               citation="Ramapuram et al. 2024, Theory, analysis, and best practices for sigmoid self-attention, "
                        "arXiv 2409.04431"),
    _attention("urpe", "GPT with attention multiplied by a learned Toeplitz matrix", URPE, paper=96,
               citation="Luo et al. 2022, Your transformer may not be as powerful as you expect, arXiv 2205.13401"),
    _attention("aaren", "GPT whose queries are learned and do not read the input", AAREN, paper=131,
               citation="Feng et al. 2024, Attention as an RNN, arXiv 2405.13956"),
    sized("momentum", "rotary attention whose queries and keys know their change", _MOMENTUM, momentum,
          family="attention", paper=199,
          citation="Momentum attention: the physics of in-context learning and spectral forensics for mechanistic "
                   "interpretability"),
    _attention("smeared-keys", "rotary attention with keys mixed with the one before", filtered(filter=Smear),
               citation="Olsson et al. 2022, In-context learning and induction heads, arXiv 2209.11895"),
    _attention("short-conv-keys", "rotary attention with a short convolution on its keys", filtered(filter=ShortConv),
               citation="Fu et al. 2022, Hungry hungry hippos, arXiv 2212.14052"),
    _attention("token-shift", "rotary attention that reads each token mixed with the one before",
               filtered(shift=TokenShift), citation="Peng et al. 2023, RWKV, arXiv 2305.13048"),
)
