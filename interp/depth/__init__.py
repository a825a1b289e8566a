"""How a model uses its depth, and what happens when one takes it away.

Names are imported when they are first used: `interp.depth.profile(model, x)`.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "erase": ("Erasure", "erasure"),
    "gradients": ("DepthGradients", "integrated_gradients"),
    "influence": ("block_influence", "block_influences", "macro_influences"),
    "maps": ("Maps", "diagonal_test", "linear_maps"),
    "phases": ("segment",),
    "profiles": ("Profile", "half_depth", "profile"),
    "structures": ("Structure", "structure"),
    "score": ("DepthScores", "depth_score", "depth_scores"),
    "similarity": ("cka",),
    "skip": ("SkipEffects", "skip_effects"),
}
_ORIGIN = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*_ORIGIN]  # noqa: PLE0604 (the names come from the table through __getattr__)


def __getattr__(name: str) -> Any:
    """A public name of this package, imported now."""
    if name in _ORIGIN:
        value = getattr(import_module(f"{__name__}.{_ORIGIN[name]}"), name)
        globals()[name] = value
        return value
    from interp.results.errors import nearest

    raise AttributeError(f"interp.depth has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
