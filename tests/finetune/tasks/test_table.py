import pytest

from finetune.errors import InputError
from finetune.tasks import METRICS, PROBLEMS, TASKS, task_named


def test_each_row_names_a_metric_of_its_problem() -> None:
    for task in TASKS.values():
        assert task.primary_metric in METRICS[task.problem], task.name


def test_each_row_has_an_example_and_source_columns_for_its_inputs() -> None:
    for task in TASKS.values():
        assert tuple(task.example) == task.text_columns, task.name
        if task.benchmark is not None:
            assert tuple(task.benchmark.columns) == task.text_columns, task.name


def test_all_problems_and_all_of_glue_are_there() -> None:
    assert {task.problem for task in TASKS.values()} == set(PROBLEMS)
    assert {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", "emotion"} <= set(TASKS)
    mnli = TASKS["mnli"].benchmark
    assert mnli is not None
    assert mnli.test_splits == ("validation_matched", "validation_mismatched")


def test_f1_needs_a_positive_label() -> None:
    for task in TASKS.values():
        assert (task.problem == "single_label" and task.primary_metric == "f1") == (task.positive_label is not None)


def test_score_is_oriented_so_that_more_is_better() -> None:
    assert task_named("stsb").score({"pearson": 0.9, "mae": 0.1}) == 0.9


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(InputError, match="--task nothing: unknown; expected one of text-classification, "):
        task_named("nothing")
