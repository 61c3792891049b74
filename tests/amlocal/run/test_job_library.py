"""Every job under fixtures/jobs, run for real: its outputs are those in its ``expected`` folder."""

from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "fixtures" / "jobs"
JOBS = sorted(path.parent for path in LIBRARY.glob("*/job.yml"))


ALWAYS_RUN = {"variables", "never_reused", "force_rerun"}
"""Commands that contain the job's name, and what says that it must not be reused."""


def contents(root: Path) -> dict[str, str]:
    found = {}
    for top in root.iterdir():
        files = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        found.update({path.relative_to(root).as_posix(): path.read_text() for path in files})
    return found


@pytest.mark.parametrize("folder", JOBS, ids=lambda folder: folder.name)
def test_job_gives_its_expected_outputs(folder, machine):
    record = machine.create(folder / "job.yml")

    assert record.status == "Completed", [step.error for step in record.steps.values()]
    assert contents(machine.home / "jobs" / record.name / "outputs") == contents(folder / "expected")
    assert {run.status for run in machine.backend.runs.values()} <= {"FINISHED", "FAILED"}


@pytest.mark.parametrize("folder", JOBS, ids=lambda folder: folder.name)
def test_second_run_reuses_every_step_and_gives_the_same_outputs(folder, machine):
    first = machine.create(folder / "job.yml")
    second = machine.create(folder / "job.yml")

    expected = None if folder.name in ALWAYS_RUN else first.name
    assert {step.reused_from for step in second.steps.values()} == {expected}
    outputs = machine.home / "jobs" / second.name / "outputs"
    assert contents(outputs) == contents(folder / "expected")
