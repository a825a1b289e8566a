"""Labelled sequences: small tasks with a literal oracle, on which programs are learned and architectures compared."""

from interp.tasks.sequences.dataset import IGNORE, Dataset, Examples
from interp.tasks.sequences.registry import dataset, help_lines, names

__all__ = ["IGNORE", "Dataset", "Examples", "dataset", "help_lines", "names"]
