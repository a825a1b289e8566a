"""GPT with other wires between its branches.

    ladder        x += attn(ln1 late) + mlp(ln2 x);  late = x without its last MLP       branches read one step late
    gtrxl         x = gate(x, relu(attn(ln1 x)));  x = gate(x, relu(mlp(ln2 x)))         a GRU in place of the sum
    three-phase   x += attn(norm x);  x = R x;  x += glu(norm x)                         the stream itself is rotated
"""

from dataclasses import replace
from functools import partial

from interp.architectures.entry import Entry, member, sized
from interp.architectures.gpt import GPT
from interp.parts.gru_gate import GruBlock
from interp.parts.ladder import LadderBlock
from interp.parts.phases import Horn, PhaseBlock, PhaseNorm
from interp.parts.spec import Spec

LADDER = replace(GPT, block=LadderBlock)
GTRXL = replace(GPT, block=GruBlock, position=None)

_wiring = partial(member, family="wiring")
_PHASES = dict(n_phases=3, d_phase=16, heads_per_phase=1, n_layers=2, d_mlp=None, d_vocab=128, n_ctx=64)


def three_phase(n_phases: int, d_phase: int, heads_per_phase: int, **sizes: int | None) -> Spec:
    """The spec of a three-phase transformer: `n_phases` channels of `d_phase`, each with its heads."""
    return Spec(d_model=n_phases * d_phase, n_heads=n_phases * heads_per_phase, position=Horn,
                block=partial(PhaseBlock, n_phases=n_phases), norm=partial(PhaseNorm, n_phases=n_phases), **sizes)


MEMBERS: tuple[Entry, ...] = (
    _wiring("ladder", "GPT whose branches read the stream one branch late", LADDER, paper=90,
            citation="Zhang et al. 2025, Ladder-residual, arXiv 2501.06589"),
    _wiring("gtrxl", "Transformer-XL with GRU gates in place of residual additions", GTRXL, paper=167,
            citation="Parisotto et al. 2019, Stabilizing transformers for reinforcement learning, arXiv 1910.06764"),
    sized("three-phase", "Llama on a stream of rotated channels", _PHASES, three_phase, family="wiring", paper=193,
          citation="Three-Phase Transformer, 2026 (the abstract; details as said in interp.parts.phases)"),
)
