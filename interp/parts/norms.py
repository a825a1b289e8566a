"""Norms of the stream: LayerNorm (Ba et al. 2016, 1607.06450) and RMSNorm (Zhang & Sennrich 2019, 1910.07467).

    LayerNorm:  y = (x - mean x) / sqrt(var x + eps) * w + b            RMSNorm:  y = x / sqrt(mean x^2 + eps) * w

They are torch's own modules, fused while nobody looks; the role opens them (`interp.hooks.semantic.norm`) while their
scale or normalised value is wanted. Surprise: neither forgets the size of its input where that is near sqrt(eps).
"""

from dataclasses import dataclass
from functools import partial

from torch import nn

from interp.hooks.roles import Norm, Undo

LayerNorm = partial(nn.LayerNorm, eps=1e-5)
RMSNorm = partial(nn.RMSNorm, eps=1e-6)


@dataclass(frozen=True)
class OwnNorm(Norm):
    """A norm of these parts that marks its scale and its normalised value itself, as its class attribute `role`."""

    def install(self, module: nn.Module) -> Undo:
        return lambda: None


def role(module: nn.Module) -> Norm:
    """What kind of norm a module is: its own word for it, or one of the kinds of this file."""
    if isinstance(own := getattr(module, "role", None), Norm):
        return own
    return Norm(center=isinstance(module, nn.LayerNorm))


def equation(module: nn.Module, name: str) -> str:
    """`ln1(x) = (x - mean) / scale * w + b`, with the kind of scale."""
    if own := getattr(module, "equation", None):
        return own(name)
    gain = "" if module.weight is None else " * w"
    if isinstance(module, nn.LayerNorm):
        return f"{name}(x) = (x - mean x) / sqrt(var x + {module.eps:g}){gain}{' + b' if gain else ''}"
    return f"{name}(x) = x / sqrt(mean x^2 + {module.eps:g}){gain}"
