"""Tasks: prompts with counterfactuals, a metric and disjoint parts. A registry, and `Task.from_pairs` for your own."""

from interp.results.callable_package import make_callable
from interp.tasks.audit import Audit
from interp.tasks.metrics import LogitDiff, LogProb, Metric, ProbDiff
from interp.tasks.registry import Entry, task, tasks
from interp.tasks.task import Task

__all__ = ["Audit", "Entry", "LogProb", "LogitDiff", "Metric", "ProbDiff", "Task", "task", "tasks"]

make_callable(__name__, tasks)  # interp.tasks(...) is tasks(...)
