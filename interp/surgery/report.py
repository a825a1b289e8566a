"""What a surgery did: what went, and how many parameters are left."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from interp.depth.rewired import parameter_count
from interp.hooks.model import HookedModel


@dataclass(frozen=True)
class Surgery:
    """`operation` on `parts` of the model called `model`; parameters before and after, shared ones once.

    `error`: numbers of the operation's own, by name (see the function that made it).
    """

    operation: str
    model: str
    parts: tuple[str, ...]
    parameters_before: int
    parameters: int
    error: dict[str, float] = field(default_factory=dict)

    @property
    def removed(self) -> float:
        """Share of the parameters that went; negative where some were added."""
        return 1 - self.parameters / self.parameters_before

    def frame(self) -> pd.DataFrame:
        """One row."""
        row: dict[str, Any] = {"operation": self.operation, "model": self.model, "parts": ", ".join(self.parts),
                               "parameters_before": self.parameters_before, "parameters": self.parameters,
                               "removed": self.removed}
        return pd.DataFrame([row | self.error])


def compared(operation: str, before: HookedModel, after: HookedModel, parts: tuple[str, ...],
             **error: float) -> Surgery:
    """The report of a surgery that made `after` of `before`."""
    return Surgery(operation, before.name, parts, parameter_count(before), parameter_count(after), error)
