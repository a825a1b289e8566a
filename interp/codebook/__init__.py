"""Codebook features: activations as sums of a few discrete codes (arXiv 2310.17230), in any hooked model.

    books = interp.codebook.books(model, "blocks.*.attn.hook_z", n_codes=1024, k=8)     # one book per head
    books.train((tokens, targets), steps=500)
    books.codes(x)                                        # {site: ids [batch, pos, head, k]}
    books.search("war|battle", texts).frame()             # codes as detectors, chosen and scored on different texts
    with model.edit(books.activate(site, 17, head=3)): model(x)
    books.detach()                                        # the model as it was, bit for bit

Names are imported when they are first used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "book": ("Codebook",),
    "books": ("Books", "attach"),
    "classify": ("Detectors", "detectors", "purity"),
    "files": ("load",),
    "measures": ("Measured", "measure"),
    "search": ("TokenCodes",),
    "steer": ("generate", "perplexity"),
    "train": ("Training",),
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

    raise AttributeError(f"interp.codebook has no {name!r}.{nearest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
