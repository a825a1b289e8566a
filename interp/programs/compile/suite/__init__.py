"""Programs with known circuits and hard negatives, to measure methods of circuit discovery on.

    from interp.programs.compile.suite import suite
    for case in suite(200, seed=0):
        case.compiled.model, case.task, case.truth, case.labels, case.idle, case.negatives
"""

from interp.programs.compile.suite.case import Case
from interp.programs.compile.suite.generate import case, library_case, suite
from interp.programs.compile.suite.traps import TRAPS

__all__ = ["TRAPS", "Case", "case", "library_case", "suite"]
