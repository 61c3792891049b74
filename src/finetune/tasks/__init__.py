"""The tasks a model can be fine-tuned for, one row each."""

from finetune.tasks.table import TASKS, Task, task_named

__all__ = ["TASKS", "Task", "task_named"]
