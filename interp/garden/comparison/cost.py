"""What a model carries from token to token, and what it computes for one.

The *state* is what generating token after token must keep: keys and values of every token for attention (at every
visit of a block that is visited more than once), a fixed number for recurrences. It is a closed form of the module's
sizes, in numbers, not bytes; the prompt itself is not counted. FLOPs are counted, not derived: see `flops`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from interp.hooks.model import HookedModel
from interp.parts.aaren import Aaren
from interp.parts.filters import Momentum, ShortConv, Smear, TokenShift
from interp.parts.flow import Flow
from interp.parts.gla import GatedLinear
from interp.parts.lmu import Lmu
from interp.results.errors import BadInput


def state_size(model: HookedModel, t: int) -> int:
    """How many numbers the model keeps of t tokens to go on from there.

    Raises BadInput for a model that is not causal, fewer than one token, or a mixer whose state has no closed form
    here.
    """
    if t < 1:
        raise BadInput(f"the state behind {t} tokens was asked for; 1 at least is needed")
    if not model.map.causal:
        raise BadInput(f"{model.name} reads a prompt as a whole; it carries no state from token to token")
    total = 0
    for block in model.map.blocks.values():
        inside = list(model.module.get_submodule(block.path).modules())
        if any(type(module).__name__ in _OPAQUE for module in inside):
            names = ", ".join(type(m).__name__ for m in inside if type(m).__name__ in _OPAQUE)
            raise BadInput(f"the state of {names} in {model.name} has no closed form here")
        total += sum(_state_of(module, t) for module in inside)
        if f"{block.prefix}.attn.hook_v" in model.map.sites and not any(isinstance(m, Aaren) for m in inside):
            total += t * _keys_and_values(model, block.prefix)
    return total


_OPAQUE = {"OmegaMemory", "Atlas"}


def _keys_and_values(model: HookedModel, prefix: str) -> int:
    """Numbers in the keys and values of one token."""
    tokens = torch.zeros(1, 1, dtype=torch.long, device=model.device)
    names = [f"{prefix}.attn.hook_k", f"{prefix}.attn.hook_v"]
    cache = model.read(tokens, names)
    return sum(cache[name].numel() for name in names)


def _width(linear: nn.Module) -> int:
    return linear.out_features


def _mamba(mixer: Any, t: int) -> int:
    channels = getattr(mixer, "conv_dim", None) or mixer.intermediate_size
    return mixer.intermediate_size * mixer.ssm_state_size + channels * min(t, mixer.conv_kernel_size - 1)


# Flow attention: sums of keys, queries, keys over outflow and queries over inflow, the sum of the competition's weights
# and of keys times values. Aaren: the largest score, the sum of weights, the weighted sum of values. LMU: its memory.
_STATES: list[tuple[type, Callable[[Any, int], int]]] = [
    (GatedLinear, lambda m, t: _width(m.k) * _width(m.v) // m.n_heads),
    (Flow, lambda m, t: 4 * _width(m.k) + m.n_heads + _width(m.k) * _width(m.v) // m.n_heads),
    (Aaren, lambda m, t: 2 * m.n_heads + _width(m.v)),
    (Lmu, lambda m, t: m.order),
    (TokenShift, lambda m, t: m.share.numel()),
]


def _state_of(module: nn.Module, t: int) -> int:
    """What this module keeps besides keys and values, children counted on their own."""
    for kind, size in _STATES:
        if isinstance(module, kind):
            return size(module, t)
    extra = _FILTERS.get(type(getattr(module, "filter", None)))
    if extra is not None:
        return extra(module, t)
    if type(module).__name__ in ("MambaMixer", "NemotronHMamba2Mixer"):
        return _mamba(module, t)
    return 0


# what a filter of queries and keys needs of the tokens before, besides the filtered keys
_FILTERS: dict[type, Callable[[Any, int], int]] = {
    Momentum: lambda m, t: _width(m.q) + _width(m.k),
    Smear: lambda m, t: _width(m.k),
    ShortConv: lambda m, t: min(t, len(m.filter.weight) - 1) * _width(m.k),
}


@dataclass(frozen=True)
class Flops:
    """Operations for one token, mean over the tokens of a prompt: `products` those of matrix products, a multiplication
    and an addition counted as two, `elementwise` one for each number that any other arithmetic gives."""

    products: float
    elementwise: float

    @property
    def total(self) -> float:
        """Both."""
        return self.products + self.elementwise


def flops(model: HookedModel, t: int) -> Flops:
    """Operations a token of one forward over t tokens, as the model computes them here.

    Matrix products are counted by `torch.utils.flop_counter`, the rest by their results: without these, scans (Mamba,
    gated linear attention) would seem to cost nothing. Patterns are computed whole, masked halves too.
    """
    tokens = torch.zeros(1, t, dtype=torch.long, device=model.device)
    counter, rest = FlopCounterMode(display=False), _Elementwise()
    with torch.no_grad(), counter, rest:
        model(tokens)
    return Flops(counter.get_total_flops() / t, rest.total / t)


_aten = torch.ops.aten
_REDUCTIONS = {_aten._softmax, _aten.sum, _aten.mean, _aten.cumsum, _aten.amax, _aten.logsumexp}


class _Elementwise(TorchDispatchMode):
    """Counts the numbers that arithmetic gives; copies do not count."""

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        counts = torch.Tag.pointwise in function.tags or function.overloadpacket in _REDUCTIONS
        if counts and isinstance(out, torch.Tensor) and out.is_floating_point():
            self.total += out.numel()
        return out
