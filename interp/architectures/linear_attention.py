"""Linear attention: what a query sees goes through a state whose size does not grow with the prompt.

    gla                       S_t = diag(a_t) S_t-1 + k_t v_t^T, a_t by the input; gated MLP, RMSNorm, no positions
    flowformer                GPT with flow attention in its causal form
    flowformer-bidirectional  the same as an encoder, in the form of the paper
    prepbn                    GPT with PRepBN for LayerNorm, as SLAB's language models
    slab                      an encoder with PRepBN and simplified linear attention, as SLAB's vision models
    phi-mamba                 S_t = a_t S_t-1 + k_t v_t^T, a_t one number a head: what MOHAWK distils attention into

All but `prepbn` have a `mixer` in the place of attention: `m.mixing_matrix(cache, depth)` writes it out.
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member
from interp.architectures.gpt import ATTN, GPT, LLAMA, MLP
from interp.parts.flow import Flow
from interp.parts.gla import GatedLinear
from interp.parts.prepbn import PRepBN
from interp.parts.simplified_linear import SimplifiedLinear
from interp.parts.spec import Spec
from interp.parts.ssd import DiscreteSsm

MIXER = replace(ATTN, name="mixer")


def with_mixer(spec: Spec, op) -> Spec:
    """`spec` with a mixer in the place of its attention."""
    return replace(spec, block=(replace(MIXER, op=op), *spec.block[1:]))


GLA = replace(with_mixer(LLAMA, GatedLinear), position=None, n_kv_heads=None)
FLOWFORMER = with_mixer(GPT, Flow)
FLOWFORMER_BIDIRECTIONAL = with_mixer(GPT, partial(Flow, causal=False))
PREPBN = replace(GPT, block=(ATTN, MLP), norm=PRepBN)
SLAB = replace(with_mixer(GPT, SimplifiedLinear), norm=PRepBN)
PHI_MAMBA = replace(with_mixer(GPT, DiscreteSsm), position=None)

_linear = partial(member, family="linear attention")
_SLAB = "Guo et al. 2024, SLAB: efficient transformers with simplified linear attention and PRepBN, arXiv 2405.11582"
_FLOW = "Wu et al. 2022, Flowformer: linearizing transformers with conservation flows, arXiv 2202.06258"

MEMBERS: tuple[Entry, ...] = (
    _linear("gla", "linear attention with decay by the input", GLA, paper=24,
            citation="Yang et al. 2023, Gated linear attention transformers, arXiv 2312.06635"),
    _linear("flowformer", "GPT with causal flow attention", FLOWFORMER, paper=101, citation=_FLOW),
    _linear("flowformer-bidirectional", "an encoder with flow attention", FLOWFORMER_BIDIRECTIONAL, paper=101,
            kind="encoder", citation=_FLOW),
    _linear("prepbn", "GPT half way from LayerNorm to a batch norm that folds away", PREPBN, paper=45, citation=_SLAB),
    _linear("slab", "an encoder with simplified linear attention and PRepBN", SLAB, paper=45, kind="encoder",
            citation=_SLAB),
    _linear("phi-mamba", "GPT with a discrete Mamba-2 in place of attention", PHI_MAMBA, paper=110,
            citation="Bick et al. 2024, Transformers to SSMs (MOHAWK), arXiv 2408.10189"),
)
