"""The files inside a run directory: tables, figures, arrays, finished chunks and the report, each written
wholly.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from interp.results.errors import BadFile, BadInput
from interp.results.files import atomic_write, read_json, read_text
from interp.results.tensors import is_whole, load_arrays, save_arrays

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from interp.results.report import Section
    from interp.results.result import Result

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_LARGEST_TABLE = 2**31


class Folder:
    """A folder of results at `path`. Names are letters, digits, _ . and -; anything else is BadInput."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save_table(self, name: str, frame: "pd.DataFrame") -> Path:
        """tables/NAME.csv, every digit kept. The index is not written."""
        return atomic_write(
            self._file("tables", name, ".csv"), frame.to_csv(index=False, lineterminator="\n")
        )

    def table(self, name: str) -> "pd.DataFrame":
        """The table that was saved under this name. Raises: BadFile."""
        import pandas as pd

        path = self._file("tables", name, ".csv")
        try:
            return pd.read_csv(io.StringIO(read_text(path, _LARGEST_TABLE)))
        except pd.errors.ParserError as error:
            raise BadFile(f"{path}: damaged, not a table ({error})") from error

    def save_figure(self, name: str, figure: "go.Figure", html: bool = False) -> Path:
        """figures/NAME.json; with `html` also NAME.html, one offline file of 5 MB.

        Returns the path of the JSON.
        """
        path = self._file("figures", name, ".json")
        if html:
            from interp.results.report import figure_page

            atomic_write(path.with_name(f"{name}.html"), figure_page(name, figure))
        return atomic_write(path, figure.to_json())

    def figure(self, name: str) -> "go.Figure":
        """The figure that was saved under this name. Raises: BadFile."""
        import plotly.graph_objects as go

        path = self._file("figures", name, ".json")
        try:
            return go.Figure(read_json(path))
        except ValueError as error:
            raise BadFile(f"{path}: not a figure ({error})") from error

    def save_views(self, name: str, result: "Result") -> None:
        """A result's table and figure, both under `name`."""
        self.save_table(name, result.frame())
        self.save_figure(name, result.figure())

    def save_tensors(self, arrays: Mapping[str, Any]) -> Path:
        """tensors.safetensors, replaced as a whole. Arrays are numpy or torch."""
        return save_arrays(self.path / "tensors.safetensors", arrays)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays in tensors.safetensors. Raises: BadFile."""
        return load_arrays(self.path / "tensors.safetensors")

    def save_report(self, title: str, sections: "Sequence[Section]") -> Path:
        """report.html, one offline file."""
        from interp.results.report import report_html

        return atomic_write(self.path / "report.html", report_html(title, sections))

    def completed(self, key: str) -> bool:
        """Whether the chunk is there, whole; a half-written or damaged one counts as absent."""
        return is_whole(self._part(key))

    def part(self, key: str) -> dict[str, np.ndarray]:
        """The arrays of a finished chunk. Raises: BadFile when it is absent or damaged."""
        return load_arrays(self._part(key))

    def save_part(self, key: str, arrays: Mapping[str, Any]) -> None:
        """Keep the arrays of one finished chunk of work.

        A key is any text that names the chunk, kept short.
        """
        save_arrays(self._part(key), arrays, metadata={"key": key})

    def parts(self) -> list[str]:
        """The keys of all finished chunks, sorted."""
        files = (self.path / "parts").glob("*.safetensors")
        return sorted(unquote(file.stem) for file in files if is_whole(file))

    def clear_parts(self) -> None:
        """Remove all chunks, once what they were for is saved."""
        for part in (self.path / "parts").glob("*"):
            part.unlink()

    def _file(self, folder: str, name: str, ending: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadInput(f"{name!r:.60} cannot be a file name; use letters, digits, _ . and -")
        return self.path / folder / f"{name}{ending}"

    def _part(self, key: str) -> Path:
        name = quote(key, safe="")
        if not 0 < len(name) <= 200:
            raise BadInput(f"the key of a chunk has 1 to 200 characters, not {len(name)}: {key[:60]!r}")
        return self.path / "parts" / f"{name}.safetensors"
