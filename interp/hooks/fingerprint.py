"""What a wrapper could leave changed in a module, before and after."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from interp.hooks.bench import Finding
from interp.hooks.tap import _TAPS


def fingerprint(module: nn.Module) -> dict[str, Any]:
    """Everything about a module that a wrapper could leave changed: state, mode, hooks, forwards, own attributes."""
    facts: dict[str, Any] = {"state_dict": list(module.state_dict())}
    for name, p in module.named_parameters():
        facts[f"parameter {name}"] = (id(p), p.data_ptr(), p._version, p.requires_grad, p.grad is None)
    for path, part in module.named_modules():
        own = {k: v for k, v in part.__dict__.items() if k not in ("_parameters", "_buffers", "_modules")}
        facts[f"{path} attributes"] = sorted(own)
        facts[f"{path} forward"] = own.get("forward"), own.get(_TAPS)
        facts[f"{path} plain values"] = {
            k: v for k, v in own.items() if isinstance(v, bool | int | float | str)
        }
        facts[f"{path} hooks"] = {k: list(v) for k, v in own.items() if "hooks" in k and isinstance(v, dict)}
        config = own.get("config")
        facts[f"{path} attention"] = getattr(config, "_attn_implementation", None)
    return facts


def unchanged(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Finding]:
    """What of a fingerprint differs."""
    moved = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
    for key in sorted(moved):
        yield "unchanged", key, 1.0, "differs after the module was wrapped and run"
    if not moved:
        yield "unchanged", "module", 0.0, ""
