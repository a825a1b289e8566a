"""Activations that are learned, in an MLP that is otherwise as it was.

    polyrelu   GPT with y = a_0 + sum_i a_i relu(x)^i
    polynorm   Llama's block with a plain MLP and y = a_0 + sum_i a_i x^i / rms(x^i)
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member
from interp.architectures.gpt import ATTN, GPT, LLAMA, MLP
from interp.parts.mlp import Mlp
from interp.parts.polycom import PolyNorm, PolyReLU

POLYRELU = replace(GPT, block=(ATTN, replace(MLP, op=partial(Mlp.of, act=PolyReLU))))
POLYNORM = replace(LLAMA, block=(LLAMA.block[0], replace(MLP, op=partial(Mlp.of, act=PolyNorm, bias=False))))

_CITATION = "Zhuo et al. 2024, Polynomial composition activations, arXiv 2411.03884"
_activation = partial(member, family="activation", paper=190, citation=_CITATION)

MEMBERS: tuple[Entry, ...] = (
    _activation("polyrelu", "GPT with a polynomial of relu for an activation", POLYRELU),
    _activation("polynorm", "Llama with a polynomial of normed powers for an activation", POLYNORM),
)
