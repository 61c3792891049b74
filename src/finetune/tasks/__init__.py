"""The tasks a model can be fine-tuned for, one row each."""

from finetune.tasks.table import LESS_IS_BETTER, METRICS, PROBLEMS, TASKS, Benchmark, Problem, Task, task_named

__all__ = ["LESS_IS_BETTER", "METRICS", "PROBLEMS", "TASKS", "Benchmark", "Problem", "Task", "task_named"]
