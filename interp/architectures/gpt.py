"""GPT and its variants: one stream, attention and an MLP in every block.

    gpt         x += attn(ln1 x);  x += mlp(ln2 x)                 positions learned, head tied to the embedding
    post-norm   x = ln1(x + attn x);  x = ln2(x + mlp x)           no norm at the end
    peri-ln     x += ln1_post(attn(ln1 x));  x += ln2_post(mlp(ln2 x))       and a norm behind the embedding
    parallel    x += attn(ln1 x) + mlp(ln2 x)
    llama       x += attn(rms x);  x += glu(rms x)                 rotary positions, grouped queries, no biases

The other members change one thing of these: the branches (attn-only), the positions (rotary, alibi, sinusoidal), the
scale of a branch (layerscale), the schedule (looped: one block at every depth).
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member
from interp.parts.attention import Attention
from interp.parts.block import Sublayer
from interp.parts.gates import LayerScale
from interp.parts.mlp import GatedMlp, Mlp
from interp.parts.norms import LayerNorm, RMSNorm
from interp.parts.positions import Alibi, Learned, Rotary, Sinusoidal
from interp.parts.spec import Spec

ATTN = Sublayer(name="attn", op=Attention.of, norm_in="ln1", writes="resid_mid")
MLP = Sublayer(name="mlp", op=Mlp.of, norm_in="ln2", reads="resid_mid")

GPT = Spec(block=(ATTN, MLP), norm=LayerNorm, position=Learned, tied=("head",))
ATTN_ONLY = replace(GPT, block=(replace(ATTN, writes="resid_post"),), tied=())
POST_NORM = replace(
    GPT,
    block=(replace(ATTN, norm_in=None, norm_sum="ln1"), replace(MLP, norm_in=None, norm_sum="ln2")),
)
PERI_LN = replace(
    GPT,
    block=(replace(ATTN, norm_out="ln1_post"), replace(MLP, norm_out="ln2_post")),
    embed_norm=True,
)
PARALLEL = replace(GPT, block=(replace(ATTN, writes=None), replace(MLP, reads="resid_pre")))
LAYERSCALE = replace(GPT, block=tuple(replace(sub, gate=LayerScale) for sub in GPT.block))
LLAMA = replace(
    GPT,
    block=(replace(ATTN, op=partial(Attention.of, bias=False)), replace(MLP, op=GatedMlp.of)),
    norm=RMSNorm,
    position=Rotary,
    n_kv_heads=2,
    tied=(),
)

_gpt = partial(member, family="gpt")

MEMBERS: tuple[Entry, ...] = (
    _gpt("gpt", "GPT: pre-norm, learned positions", GPT,
         citation="Radford et al. 2019, Language models are unsupervised multitask learners"),
    _gpt("attn-only", "GPT without MLPs", ATTN_ONLY,
         citation="Elhage et al. 2021, A mathematical framework for transformer circuits"),
    _gpt("attn-only-rotary", "GPT without MLPs, with rotary positions", replace(ATTN_ONLY, position=Rotary),
         citation="Elhage et al. 2021, as above; Su et al. 2021, arXiv 2104.09864"),
    _gpt("llama", "Llama: RMSNorm, rotary positions, gated MLP, grouped queries", LLAMA,
         citation="Touvron et al. 2023, arXiv 2302.13971; grouped queries: Ainslie et al. 2023, arXiv 2305.13245"),
    _gpt("post-norm", "GPT with the norm behind the addition", POST_NORM,
         citation="Vaswani et al. 2017, arXiv 1706.03762; placement named by Xiong et al. 2020, arXiv 2002.04745"),
    _gpt("peri-ln", "GPT with a norm on both sides of every branch", PERI_LN, paper=187,
         citation="Kim et al. 2025, Peri-LN, arXiv 2502.02732"),
    _gpt("parallel", "GPT with attention and MLP side by side", PARALLEL,
         citation="Wang & Komatsuzaki 2021, GPT-J-6B; Black et al. 2022, arXiv 2204.06745"),
    _gpt("layerscale", "GPT with a learned scale on every branch", LAYERSCALE,
         citation="Touvron et al. 2021, arXiv 2103.17239"),
    _gpt("rotary", "GPT with rotary positions", replace(GPT, position=Rotary),
         citation="Su et al. 2021, arXiv 2104.09864"),
    _gpt("alibi", "GPT with linear biases on its scores", replace(GPT, position=Alibi),
         citation="Press et al. 2021, arXiv 2108.12409"),
    _gpt("sinusoidal", "GPT with fixed sine and cosine positions", replace(GPT, position=Sinusoidal),
         citation="Vaswani et al. 2017, arXiv 1706.03762"),
    _gpt("looped", "GPT with one block at every depth", replace(GPT, n_layers=4, tied=("head", "blocks")),
         citation="Dehghani et al. 2018, Universal transformers, arXiv 1807.03819"),
)
