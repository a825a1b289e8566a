"""A package that is called like the function it is named for: `interp.effects(...)` beside `interp.effects.rules`.

A function of the same name would be hidden by the package the first time somebody imports a module of it, and the
other way round; which one a user meets would depend on the order of imports.
"""

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def make_callable(package: str, function: Callable[..., Any]) -> None:
    """Calling the package of this name calls `function`; its attributes stay as they are.
    `__wrapped__` is the function, as for decorators."""
    module = sys.modules[package]

    class Package(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    module.__class__ = Package
    module.__wrapped__ = function
    module.__signature__ = inspect.signature(function)
