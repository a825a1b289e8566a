"""Results and how they are kept: errors, estimates with intervals, circuits, run directories, figures,
reports.

The bottom of the package: imports nothing else of it. Further helpers are in the modules `estimate` (max_t,
benjamini_hochberg, bootstrap_statistic), `plots`, `report`, `progress`, `files`, `plain` and `tensors`.
"""

from interp.results.circuit import Circuit
from interp.results.errors import (
    BadFile,
    BadInput,
    InterpError,
    MissingSite,
    ModelMissing,
    RequiresPattern,
    RequiresResidualStream,
)
from interp.results.estimate import Estimate, bootstrap_mean, bootstrap_ratio
from interp.results.node import Edge, Node
from interp.results.result import Result
from interp.results.run import Run
from interp.results.runs import list_runs

__all__ = [
    "BadFile",
    "BadInput",
    "Circuit",
    "Edge",
    "Estimate",
    "InterpError",
    "MissingSite",
    "ModelMissing",
    "Node",
    "RequiresPattern",
    "RequiresResidualStream",
    "Result",
    "Run",
    "bootstrap_mean",
    "bootstrap_ratio",
    "list_runs",
]
