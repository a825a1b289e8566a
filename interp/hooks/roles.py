"""Roles: library modules whose forward is replaced, while wanted, by the same operation with its inside marked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from interp.hooks import semantic
from interp.hooks.tap import mark

Undo = Callable[[], None]


class Role(Protocol):
    """Says what a module is. `install` makes it mark its inside and returns what takes that back."""

    def install(self, module: nn.Module) -> Undo: ...


def replace_forward(module: nn.Module, forward: Callable) -> Undo:
    """Shadow `module.forward` on the instance; the class and the state stay as they are."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward  # what nn.Module's slow __setattr__ comes to

    def undo() -> None:
        if before is None:
            module.__dict__.pop("forward", None)
        else:
            module.__dict__["forward"] = before

    return undo


@dataclass(frozen=True)
class Norm:
    """LayerNorm or RMSNorm of any library: which attributes hold its gain, shift and epsilon.

    `plus_one` is for Gemma's gain, stored as its difference to 1.
    """

    center: bool = True
    eps: str = "eps"
    plus_one: bool = False

    def gain(self, module: nn.Module) -> Tensor | None:
        """The factor that the normalised value is multiplied with (None for one)."""
        weight = module.weight
        return weight + 1 if self.plus_one and weight is not None else weight

    def shift(self, module: nn.Module) -> Tensor | None:
        """The constant added at the end, if there is one."""
        return getattr(module, "bias", None)

    def forward(self, module: nn.Module, x: Tensor) -> Tensor:
        """The module's own result, with its statistics marked."""
        eps = getattr(module, self.eps)
        return semantic.norm(
            x,
            self.gain(module),
            self.shift(module),
            eps=torch.finfo(x.dtype).eps if eps is None else eps,  # None is nn.RMSNorm's word for that
            center=self.center,
            mark=partial(mark, module),
        )

    def install(self, module: nn.Module) -> Undo:
        return replace_forward(module, partial(self.forward, module))


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity that is a module; its parts (a tanh, a product) are not rules of their own."""

    def install(self, module: nn.Module) -> Undo:
        return replace_forward(module, partial(semantic.activation, module.forward))


@dataclass(frozen=True)
class Attribute:
    """A switch of the module that must have one value for its inside to be visible (timm's `fused_attn`)."""

    name: str
    value: object

    def install(self, module: nn.Module) -> Undo:
        before = getattr(module, self.name)
        setattr(module, self.name, self.value)
        return partial(setattr, module, self.name, before)


@dataclass(frozen=True)
class Forward:
    """A module whose whole forward is given: `function(module, *args, **kwargs)` with marks inside."""

    function: Callable

    def install(self, module: nn.Module) -> Undo:
        return replace_forward(module, partial(self.function, module))
