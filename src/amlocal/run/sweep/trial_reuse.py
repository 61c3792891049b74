"""Trials that completed in an earlier job and need not run again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from amlocal.reader.search import Literal
from amlocal.run.fingerprint import Fingerprint
from amlocal.run.records import TrialRecord, trial_from
from amlocal.run.reuse import Output, Result, ResultCache


def trial_fingerprint(step: Fingerprint, parameters: Mapping[str, Literal], metric: str) -> Fingerprint:
    """Give what a trial's result depends on: all that its sweep's does, but for how the sweep goes about it.

    So a trial is found again when the sweep was ended half-way, or when its limits, its policy or its sampling
    have changed; and it is taken for no other trial, nor for a step that runs the same command.

    Args:
        step: the sweep's own fingerprint.
        parameters: the trial's hyperparameters.
        metric: the primary metric, whose curve is kept with the result.
    """
    texts = {name: str(value) for name, value in parameters.items()}
    trial = json.dumps({"metric": metric, "trial": texts}, sort_keys=True)
    return dataclasses.replace(step, inputs={**step.inputs, **texts}, sweep=trial)


def find_trial(
    results: ResultCache, fingerprint: Fingerprint, job: str
) -> tuple[TrialRecord, Mapping[str, Output]] | None:
    """Look a completed trial up.

    Args:
        results: the cache.
        fingerprint: the trial's.
        job: the job that asks. What it ran itself does not count: a sweep that tries the same values twice, as one
            may to see the spread, runs them twice.

    Returns:
        Its record, as of the job that ran it, and its outputs; None when it has to run.
    """
    result = results.find(fingerprint)
    if result is None or result.job == job:
        return None
    return dataclasses.replace(trial_from(result.extra["trial"]), reused_from=result.job), result.outputs


def keep_trial(
    results: ResultCache, fingerprint: Fingerprint, job: str, trial: TrialRecord, outputs: Mapping[str, Output]
) -> None:
    """Keep a completed trial for later jobs."""
    seconds = (trial.ended or 0.0) - (trial.started or 0.0)
    extra = {"trial": dataclasses.asdict(trial)}
    results.store(fingerprint, Result(job, outputs, seconds, trial.run_id, extra))
