"""A package whose public names are imported when they are first used, so that importing it costs nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from interp.results.errors import nearest


def lazy_names(
    package: str, home: Mapping[str, Sequence[str]], modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """(`__getattr__`, `__dir__`, `__all__`) of a package; `home` says which of its modules has which public names,
    `modules` which are public themselves.

    An unknown name is an AttributeError that names the nearest.
    """
    origin = {name: module for module, names in home.items() for name in names}

    def get(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in origin:
            raise AttributeError(f"{package} has no {name!r}.{nearest(name, [*origin, *modules])}")
        value = getattr(import_module(f"{package}.{origin[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *origin, *modules})

    return get, names, [*origin, *modules]
