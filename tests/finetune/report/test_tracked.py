"""What find_sweep makes of a tracking store with the runs of a pipeline."""

import logging
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from support import track_in

from finetune.report.tracked import find_sweep, log_files, log_measured, tracked_run


@pytest.fixture
def pipeline(tmp_path: Path) -> mlflow.entities.Run:
    """Record a pipeline run with prep, evaluate and a sweep of three trials; return evaluate's run."""
    track_in(tmp_path)
    client = MlflowClient()

    def child(name: str, parent: str | None = None) -> str:
        tags = {} if parent is None else {"mlflow.parentRunId": parent}
        return client.create_run("0", tags=tags, run_name=name).info.run_id

    root = child("pipeline")
    prep, sweep, evaluate = (child(name, root) for name in ("prep", "sweep", "evaluate"))
    client.log_metric(prep, "rows", 3)
    for number, (status, scores) in enumerate(
        [("FINISHED", (0.5, 0.7)), ("FINISHED", (0.8, 0.75)), ("KILLED", (0.2,))]
    ):
        trial = child(f"sweep-{number}", sweep)
        client.log_param(trial, "learning_rate", 0.0001 * (number + 1))
        for step, score in enumerate(scores):
            client.log_metric(trial, "score", score, step=step)
            client.log_metric(trial, "validation/loss", 1 - score, step=step)
            client.log_metric(trial, "system/cpu_utilization_percentage", 50 + step, step=step)
        client.set_tag(trial, "machine", "x86_64, 2 cores")
        client.set_terminated(trial, status)
    return client.get_run(evaluate)


def run_named(name: str) -> str:
    (found,) = mlflow.search_runs(filter_string=f"attributes.run_name = '{name}'", output_format="list")
    return found.info.run_id


def test_the_trials_are_the_children_of_a_sibling(pipeline: mlflow.entities.Run) -> None:
    sweep, why = find_sweep(pipeline, {"mlflow_run": run_named("sweep-1")})
    assert why == ""
    assert sweep is not None
    assert [(trial.name, trial.best, trial.ended_early) for trial in sweep.trials] == [
        ("sweep-0", 0.7, False),
        ("sweep-1", 0.8, False),
        ("sweep-2", 0.2, True),
    ]
    assert [trial.validation_loss for trial in sweep.trials] == pytest.approx([0.3, 0.2, 0.8])
    assert sweep.chosen == "sweep-1"
    assert [value for _, value in sweep.losses["validation/loss"]] == pytest.approx([0.2, 0.25])
    assert sweep.losses["loss"] == ()
    (points,) = sweep.hardware.values()
    assert [value for _, value in points] == [50.0, 51.0]
    assert 0 == points[0][0] <= points[1][0] < 20
    assert {trial.machine for trial in sweep.trials} == {"x86_64, 2 cores"}
    assert all(trial.seconds is not None and trial.seconds >= 0 for trial in sweep.trials)


@pytest.mark.parametrize("training", [None, {}, {"mlflow_run": "of-another-workspace"}])
def test_no_trial_is_taken_for_the_challenger_that_it_is_not(
    pipeline: mlflow.entities.Run, training: dict[str, str] | None
) -> None:
    sweep, _ = find_sweep(pipeline, training)
    assert sweep is not None
    assert len(sweep.trials) == 3
    assert sweep.chosen is None
    assert sweep.losses == {}


def test_a_reused_challenger_is_shown_with_the_sweep_that_made_it(pipeline: mlflow.entities.Run) -> None:
    with mlflow.start_run(tags={"mlflow.parentRunId": "a-later-job"}) as run:
        sweep, _ = find_sweep(run, {"mlflow_run": run_named("sweep-0")})
    assert sweep is not None
    assert [trial.name for trial in sweep.trials] == ["sweep-0", "sweep-1", "sweep-2"]
    assert sweep.chosen == "sweep-0"


def test_without_a_run_that_logged_a_score_there_is_no_sweep(tmp_path: Path) -> None:
    track_in(tmp_path)
    with mlflow.start_run() as run:
        sweep, why = find_sweep(run, {"mlflow_run": run.info.run_id})
    assert sweep is None
    assert why.startswith("no trial is known")


def test_a_tracking_server_that_fails_costs_a_warning(
    pipeline: mlflow.entities.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise mlflow.MlflowException("the server is gone")

    monkeypatch.setattr(MlflowClient, "search_runs", fail)
    monkeypatch.setattr(mlflow, "log_artifact", fail)
    with caplog.at_level(logging.WARNING):
        assert find_sweep(pipeline, {}) == (None, "the tracking server did not answer")
        log_files(pipeline, "report", tmp_path / "report.html")
    assert [record.message for record in caplog.records] == [
        "the sweep is left out of the report: the server is gone",
        "report: not among the run's artefacts: the server is gone",
    ]


def test_a_tracking_server_that_is_away_costs_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_RUN_ID", "1" * 32)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        with caplog.at_level(logging.WARNING), tracked_run() as run:
            assert run is None
            log_measured(run, {"challenger": {"accuracy": 0.5}}, promoted=True)
            log_files(run, "report", tmp_path / "report.html")
            assert find_sweep(run, {"mlflow_run": "1"}) == (None, "the tracking server did not answer")
    finally:
        mlflow.set_tracking_uri(before)
    assert "nothing is tracked" in caplog.text


def test_a_run_ends_as_its_block_does(tmp_path: Path) -> None:
    track_in(tmp_path)
    with tracked_run() as good:
        log_measured(good, {"challenger": {"accuracy": 0.5, "odd": float("nan")}}, promoted=True)
    with pytest.raises(OSError, match="disk"), tracked_run() as bad:
        raise OSError("disk")
    assert good is not None
    assert bad is not None
    found = mlflow.get_run(good.info.run_id)
    assert (found.info.status, found.data.metrics) == ("FINISHED", {"test/challenger/accuracy": 0.5})
    assert found.data.tags["promoted"] == "True"
    assert mlflow.get_run(bad.info.run_id).info.status == "FAILED"
