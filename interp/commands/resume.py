"""Finished effects kept in a run folder, so that a killed run goes on where it was."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.results.run import Run

if TYPE_CHECKING:
    pass


class KeptEffects:
    """The `done` of `effects` and `discover`: every finished chunk is a part of the run, read back on a resumed one."""

    def __init__(self, run: Run, name: str = "effects") -> None:
        self._run, self._name = run, name
        self._known: dict[tuple[int, int], Tensor] = {}
        for key in run.parts():
            if key.startswith(f"{name} "):
                self._read(key)

    def _read(self, key: str) -> None:
        part = self._run.part(key)
        draw = int(part["draw"])
        for index, row in zip(part["indices"].tolist(), torch.from_numpy(part["effects"])):
            self._known[draw, index] = row

    def __len__(self) -> int:
        return len(self._known)

    def get(self, draw: int, index: int) -> Tensor | None:
        """The effect of source `index` in baseline draw `draw`, [batch], or None where it is still to do."""
        return self._known.get((draw, index))

    def put(self, draw: int, indices: list[int], effects: Tensor) -> None:
        """Keep a finished chunk: effects [len(indices), batch]."""
        arrays = {"draw": torch.tensor(draw), "indices": torch.tensor(indices), "effects": effects.detach().cpu()}
        self._run.checkpoint(f"{self._name} {draw} {indices[0]}-{indices[-1]}", arrays)
