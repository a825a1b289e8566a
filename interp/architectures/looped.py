"""Models that visit a block more than once: depth is the number of visits.

    widenet              one attention and one set of experts for all depths, norms of their own
    algoformer           a first block, one that is visited n_loops times, a last block
    relaxed-recursive    one block for all depths plus a low-rank map of each visit's own
    mor                  one block; a router says how often each token visits it (causal)
    mor-expert           one block; at every visit a router chooses who goes on (not causal)
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member, of_spec, sized
from interp.architectures.gpt import ATTN, GPT, MLP
from interp.hooks.model import HookedModel
from interp.parts.describe import equations
from interp.parts.moe import Experts
from interp.parts.real_model import REALS, real_sizes
from interp.parts.recursion import ExpertChoice, RecursionBlock
from interp.parts.relaxed import relax
from interp.parts.spec import SIZES, Spec

WIDENET = replace(GPT, block=(ATTN, replace(MLP, op=Experts.of)), tied=("head", "branches"))
ALGOFORMER = replace(GPT, n_layers=4, tied=("head", "middle"))
_ALGOFORMER = {size: getattr(GPT, size) for size in SIZES if size != "n_layers"} | {"n_loops": 2}
MOR = replace(GPT, n_layers=3, block=RecursionBlock, tied=("head", "blocks"))
MOR_EXPERT = replace(MOR, block=partial(RecursionBlock, route=ExpertChoice))
RELAXED = replace(GPT, n_layers=4)
_RELAXED = {size: getattr(RELAXED, size) for size in SIZES} | {"n_shared": 1, "rank": 4} | dict.fromkeys(REALS)


def algoformer(n_loops: int, **sizes: int | None) -> Spec:
    """The spec with `n_loops` visits of the middle block."""
    return replace(ALGOFORMER, n_layers=n_loops + 2, **sizes)


def _relaxed(*, seed: int, **given: int | None) -> HookedModel:
    sizes = _RELAXED | given
    spec = replace(RELAXED, **{size: sizes[size] for size in SIZES})
    return of_spec(spec, real_sizes(sizes), seed, name="relaxed-recursive",
                   recipe={"source": "catalog", "name": "relaxed-recursive", "sizes": sizes},
                   change=lambda model: relax(model, sizes["n_shared"], sizes["rank"]))


def _relaxed_equations(model: HookedModel) -> list[tuple[str, str]]:
    rank = model.module.blocks[0].attn.q.down.shape[0]
    return [*equations(model.module), (f"where W = W_shared + B_d A_d in every block, of rank {rank}", "")]


_looped = partial(member, family="looped")

MEMBERS: tuple[Entry, ...] = (
    _looped("widenet", "GPT with one attention and one set of experts at every depth", WIDENET, paper=21,
            citation="Xue et al. 2021, Go wider instead of deeper, arXiv 2107.11817"),
    sized("algoformer", "GPT with a looped block between a first and a last one", _ALGOFORMER, algoformer, paper=9,
          family="looped", citation="Gao et al. 2024, On the expressive power of a variant of the looped transformer, "
          "arXiv 2402.13572"),
    Entry(name="relaxed-recursive", title="GPT whose depths share their maps but for a low-rank part", family="looped",
          kind="language model", make=_relaxed, sizes=_RELAXED, equations=_relaxed_equations, paper=116,
          citation="Bae et al. 2024, Relaxed recursive transformers, arXiv 2410.20672"),
    _looped("mor", "GPT with one block that each token visits as often as its router says", MOR, paper=117,
            citation="Bae et al. 2025, Mixture-of-Recursions, arXiv 2507.10524"),
    _looped("mor-expert", "GPT with one block whose router chooses at every visit who goes on", MOR_EXPERT, paper=117,
            kind="encoder", citation="Bae et al. 2025, Mixture-of-Recursions, arXiv 2507.10524"),
)
