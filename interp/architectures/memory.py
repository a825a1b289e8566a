"""Models whose layers look parameters up: by attention to them, by hashing, or in a memory that learns while it reads.

    tokenformer    every linear map is an attention to parameter tokens; norms without parameters
    memoryformer   every linear map is a sum of table rows, chosen by the signs of a chunk of the input
    atlas          in the place of attention a memory that takes a step of learning at every token; gated MLP
    atlas-linear   the same with a memory of one matrix and plain steps: linear in its values, so with a mixing matrix
"""

from dataclasses import replace
from functools import partial

from torch import nn

from interp.architectures.entry import Entry, member
from interp.architectures.gpt import ATTN, GPT, LLAMA, MLP
from interp.architectures.linear_attention import with_mixer
from interp.parts.hash_layer import HashAttention, HashMlp
from interp.parts.omega_memory import OmegaMemory
from interp.parts.pattention import TokenAttention, feed_forward
from interp.parts.positions import Rotary

TOKENFORMER = replace(
    GPT,
    block=(replace(ATTN, op=TokenAttention), replace(MLP, op=feed_forward)),
    norm=partial(nn.LayerNorm, eps=1e-5, elementwise_affine=False),
    position=Rotary,
    tied=(),
)
MEMORYFORMER = replace(GPT, block=(replace(ATTN, op=HashAttention), replace(MLP, op=HashMlp)))
ATLAS = replace(with_mixer(LLAMA, OmegaMemory), position=None, n_kv_heads=None)
ATLAS_LINEAR = with_mixer(ATLAS, partial(OmegaMemory, hidden=None, muon=False))

_memory = partial(member, family="memory")
_ATLAS = "Behrouz et al. 2025, ATLAS: learning to optimally memorize the context, arXiv 2505.23735"

MEMBERS: tuple[Entry, ...] = (
    _memory("tokenformer", "attention to parameters in the place of every linear map", TOKENFORMER, paper=64,
            citation="Wang et al. 2024, TokenFormer, arXiv 2410.23168"),
    _memory("memoryformer", "hash tables in the place of every linear map", MEMORYFORMER, paper=36,
            citation="Ding et al. 2024, MemoryFormer, arXiv 2411.12992"),
    _memory("atlas", "a memory that learns while it reads in the place of attention", ATLAS, paper=124,
            citation=_ATLAS),
    _memory("atlas-linear", "a memory of one matrix that learns while it reads", ATLAS_LINEAR, paper=124,
            citation=_ATLAS),
)
