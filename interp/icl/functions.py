"""`interp.icl.task("linear", d=5)`: the classes of functions of `interp.tasks.functions`, by name."""

from interp.tasks.functions import function_task as task
from interp.tasks.functions import function_tasks as tasks

__all__ = ["task", "tasks"]
