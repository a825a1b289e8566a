"""Transformer Programs: models trained to become programs, and programs compiled into models.

    trained = interp.programs.train("hist", seed=0)          # a model of discrete choices (arXiv 2306.01128)
    program = trained.program                                # the same as tables
    program.run(list("abac")), program.to_python(), program.prune(), program.to_graph()
    compiled = interp.programs.compile("hist", vocab="abcd", length=5)      # the other way (arXiv 2301.05062)
    compiled.run(list("abac")), compiled.model, compiled.truth

Names are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.programs.compile import Compiled as Compiled
    from interp.programs.graph import graph_figure as graph_figure
    from interp.programs.program import Program as Program
    from interp.programs.rounding import rounded as rounded
    from interp.programs.train import Trained as Trained

_HOME = {
    "Compiled": "compile", "Program": "program", "Trained": "train", "graph_figure": "graph", "rounded": "rounding",
}
_CALLABLE = ("compile", "train")  # modules that are called like the function they are named for

__all__ = [*_HOME, *_CALLABLE]  # noqa: PLE0604, F822 (the names come from the table through __getattr__)


def __getattr__(name: str) -> Any:
    """A public name, or a module of this package, imported now."""
    if name in _HOME:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return value
    if name in _CALLABLE or name in ("debug", "rasp"):
        return import_module(f"{__name__}.{name}")
    from interp.results.errors import nearest

    raise AttributeError(f"interp.programs has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
