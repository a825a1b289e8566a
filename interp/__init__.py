"""interp: mechanistic interpretability in which the architecture is a variable.

>>> import interp
>>> model = interp.load("garden/induction-2l")
>>> task = interp.task("induction", model=model)
>>> circuit = interp.discover(model, task)
>>> interp.evaluate(model, circuit, task).faithfulness

Names are imported when they are first used, so `import interp` costs nothing.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.adapters import hook as hook
    from interp.discovery import Comparison as Comparison
    from interp.discovery import Evaluation as Evaluation
    from interp.discovery import compare as compare
    from interp.discovery import discover as discover
    from interp.discovery import evaluate as evaluate
    from interp.effects import Effects as Effects
    from interp.effects import decompose as decompose
    from interp.effects import effects as effects
    from interp.garden.catalog import build as build
    from interp.garden.catalog import catalog as catalog
    from interp.garden.loading import load as load
    from interp.garden.train import train as train
    from interp.hooks import Ablate as Ablate
    from interp.hooks import Cache as Cache
    from interp.hooks import Counterfactual as Counterfactual
    from interp.hooks import Freeze as Freeze
    from interp.hooks import HookedModel as HookedModel
    from interp.hooks import Mean as Mean
    from interp.hooks import Patch as Patch
    from interp.hooks import Resample as Resample
    from interp.hooks import Site as Site
    from interp.hooks import SiteMap as SiteMap
    from interp.hooks import Source as Source
    from interp.hooks import Steer as Steer
    from interp.hooks.check import check_model as check_model
    from interp.results import Circuit as Circuit
    from interp.results import Estimate as Estimate
    from interp.results import InterpError as InterpError
    from interp.results import Node as Node
    from interp.results import Run as Run
    from interp.tasks import Task as Task
    from interp.tasks import task as task
    from interp.tasks import tasks as tasks

_HOME = {
    "interp.adapters": ("hook",),
    "interp.discovery": ("Comparison", "Evaluation", "compare", "discover", "evaluate"),
    "interp.effects": ("Effects", "decompose"),
    "interp.garden.catalog": ("build", "catalog"),
    "interp.garden.loading": ("load",),
    "interp.garden.train": ("train",),
    "interp.hooks": (
        "Ablate", "Cache", "Counterfactual", "Freeze", "HookedModel", "Mean", "Patch", "Resample", "Site", "SiteMap",
        "Source", "Steer",
    ),
    "interp.hooks.check": ("check_model",),
    "interp.results": ("Circuit", "Estimate", "InterpError", "Node", "Run"),
    "interp.tasks": ("Task", "task"),
}
_ORIGIN = {name: module for module, names in _HOME.items() for name in names}
_CALLABLE = ("effects", "tasks")  # packages that are called like the function they are named for

__all__ = [  # noqa: PLE0604, F822 (the names come from the table through __getattr__)
    *_ORIGIN, *_CALLABLE,
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """A public name, or a subpackage, imported now."""
    if name in _ORIGIN:
        value = getattr(import_module(_ORIGIN[name]), name)
        globals()[name] = value
        return value
    if name.isidentifier() and not name.startswith("_") and find_spec(f"interp.{name}") is not None:
        return import_module(f"interp.{name}")
    from interp.results.errors import nearest

    raise AttributeError(f"interp has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
