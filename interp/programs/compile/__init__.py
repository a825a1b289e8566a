"""RASP programs compiled to the weights of a hooked model whose circuit is known.

    compiled = interp.programs.compile("hist", vocab="abcd", length=5)
    compiled.run(list("abac"))      # [2, 1, 2, 1]
    compiled.truth, compiled.model, compiled.values(["abac"])
"""

from interp.programs.compile.api import compile
from interp.programs.compile.capabilities import capabilities
from interp.programs.compile.compiled import Compiled
from interp.programs.compile.verify import Verification
from interp.results.callable_package import make_callable

__all__ = ["Compiled", "Verification", "capabilities", "compile"]

make_callable(__name__, compile)  # interp.programs.compile(...) is compile(...)
