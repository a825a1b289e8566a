"""What every analysis returns can do."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from interp.results.run import Run


@runtime_checkable
class Result(Protocol):
    """A small frozen dataclass that can be read as a table, seen as a figure and kept in a run directory."""

    def frame(self) -> "pd.DataFrame":
        """Tidy table, one row a cell or item, columns named; units, if any, in `.attrs["units"]`."""
        ...

    def figure(self) -> "go.Figure":
        """The figure that answers the analysis' question, of the same numbers as `frame()`."""
        ...

    def save(self, run: "Run") -> Path | Any:
        """Write tables, tensors and figures into the run, usually through `run.save_views(name, self)`."""
        ...
