"""Architectures made comparable: the same data and seeds, matched parameters, a tuned learning rate for each."""

from interp.results.lazy_package import lazy_names

_HOME = {
    "compare": ("compare_architectures",),
    "cost": ("flops", "state_size"),
    "match": ("matched",),
    "result": ("Comparison",),
    "tasks": ("token_task",),
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
