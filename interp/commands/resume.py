"""Finished effects kept in a run folder, so that a killed run goes on where it was."""

import hashlib

import torch
from torch import Tensor

from interp.results.run import Run


class KeptEffects:
    """The `done` of `effects` and `discover`: every finished chunk is a part of the run, read back on a resumed one.

    Effects are kept by the label of their source, so that a resumed run may ask for them in another order.
    """

    def __init__(self, run: Run, name: str = "effects") -> None:
        self._run, self._name = run, name
        self._known: dict[tuple[int, str], Tensor] = {}
        for key in run.parts():
            if key.startswith(f"{name} "):
                self._read(key)

    def _read(self, key: str) -> None:
        part = self._run.part(key)
        labels = bytes(part["labels"].tolist()).decode().split("\n")
        for label, row in zip(labels, torch.from_numpy(part["effects"])):
            self._known[int(part["draw"]), label] = row

    def __len__(self) -> int:
        return len(self._known)

    def get(self, draw: int, label: str) -> Tensor | None:
        """The effect of the source `label` in baseline draw `draw`, [batch], or None where it is still to do."""
        return self._known.get((draw, label))

    def put(self, draw: int, labels: list[str], effects: Tensor) -> None:
        """Keep a finished chunk: effects [len(labels), batch]."""
        text = "\n".join(labels).encode()
        arrays = {
            "draw": torch.tensor(draw),
            "labels": torch.tensor(list(text), dtype=torch.uint8),
            "effects": effects.detach().cpu(),
        }
        self._run.checkpoint(f"{self._name} {draw} {hashlib.sha256(text).hexdigest()[:16]}", arrays)
