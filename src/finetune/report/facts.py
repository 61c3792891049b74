"""All that a report is made from. The report is a pure function of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from finetune.answers import KINDS, AnswerKind, Scored
from finetune.data.checks.copies import SEEN_CHECKS
from finetune.data.checks.finding import Finding
from finetune.data.manifest import LABEL, DatasetManifest
from finetune.measurement import scored_answers
from finetune.report.costs import CostRow, Prices
from finetune.report.trials import Sweep
from finetune.tasks import Task, task_named
from finetune.verdict import CHALLENGER, CHAMPION


@dataclass(frozen=True)
class Facts:
    """What is known when the report is written."""

    metrics: Mapping[str, Any]
    """Contents of metrics.json."""
    verdict: Mapping[str, Any]
    """Contents of verdict.json."""
    manifest: DatasetManifest
    predictions: pd.DataFrame
    """Contents of predictions.parquet: see `finetune.answers.test_rows.predictions_frame`."""
    training: Mapping[str, Any] | None = None
    """Contents of the challenger's training.json."""
    no_training: str = "the model folder holds no training.json"
    """Why they are not known, when they are not."""
    sweep: Sweep | None = None
    no_sweep: str = "it was not looked for"
    """Why there is no sweep, when there is none."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """What else names the run: commit, jobs."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Addresses of what lineage names, by the same names."""
    costs: tuple[CostRow, ...] = ()
    no_costs: tuple[str, ...] = ("no table of prices was given",)
    """What could not be priced, and why."""
    prices: Prices | None = None

    @property
    def task(self) -> Task:
        """The data set's."""
        return task_named(self.manifest.task)

    @property
    def kind(self) -> AnswerKind:
        """How answers to the task are measured."""
        return KINDS[self.task.problem]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label names; a label's id is its position."""
        return self.manifest.labels

    @property
    def texts(self) -> list[str]:
        """The text columns, in the order of predictions.parquet."""
        return list(self.predictions.columns[: self.predictions.columns.get_loc(LABEL)])

    @cached_property
    def scored(self) -> Mapping[str, Scored]:
        """What is measured of "challenger" and, where it was measured, of "champion"."""
        given = {name: scored_answers(self.predictions, name, self.manifest) for name in (CHALLENGER, CHAMPION)}
        return {name: scored for name, scored in given.items() if scored is not None}

    def became_of(self, finding: Finding) -> str:
        """Say what became of the rows that a data check found: by prep, and of test rows by the gate."""
        subtracted = self.verdict["policy"]["test_rows_seen_in_train"] == "subtract"
        if finding.action == "warn" and finding.split == "test" and finding.check in SEEN_CHECKS and subtracted:
            return "not measured"
        return {"warn": "kept", "drop": "dropped"}.get(finding.action, finding.action)

    def texts_of(self, row: int) -> dict[str, str]:
        """Return the texts of one of the rows, counted from 0."""
        return {column: str(self.predictions[column].iloc[row]) for column in self.texts}
