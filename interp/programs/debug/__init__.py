"""Finding out why a `Program` answers as it does, which of it is used, and where it is wrong."""

from interp.programs.debug.counter_example import Search, counter_example
from interp.programs.debug.coverage import Coverage, coverage
from interp.programs.debug.explain import Explanation, explain
from interp.programs.debug.lit import Lit, lit
from interp.programs.debug.smallest import Smallest, smallest

__all__ = [
    "Coverage", "Explanation", "Lit", "Search", "Smallest", "counter_example", "coverage", "explain", "lit", "smallest",
]
