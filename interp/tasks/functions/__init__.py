"""Classes of functions to be learned in context: how prompts of examples are drawn, and what Bayes would say."""

from interp.tasks.functions.episodes import Episodes, FunctionTask
from interp.tasks.functions.registry import function_task, function_tasks
from interp.tasks.functions.shifts import shifted

__all__ = ["Episodes", "FunctionTask", "function_task", "function_tasks", "shifted"]
