"""Circuits: found on some prompts, sized on others, tested on the rest."""

from interp.discovery.discover import METHODS, discover
from interp.discovery.evaluate import Evaluation, evaluate
from interp.discovery.nodes import nodes

__all__ = ["METHODS", "Evaluation", "discover", "evaluate", "nodes"]
