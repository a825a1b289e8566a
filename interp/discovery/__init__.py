"""Circuits: found on some prompts, sized on others, tested on the rest."""

from interp.discovery.compare import Comparison, compare
from interp.discovery.discover import discover
from interp.discovery.evaluate import Evaluation, evaluate
from interp.discovery.methods import METHODS
from interp.discovery.nodes import nodes

__all__ = ["METHODS", "Comparison", "Evaluation", "compare", "discover", "evaluate", "nodes"]
