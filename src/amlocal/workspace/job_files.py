"""The logs and outputs of jobs as blobs, where Azure's clients look for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from amlocal.folders import walk_folders
from amlocal.run.records import JobRecord
from amlocal.workspace import names
from amlocal.workspace.blobs import FilesByName
from amlocal.workspace.job_log import execution_log
from amlocal.workspace.job_runs import JobRecords, JobRun
from amlocal.workspace.layout import Layout, write_atomically

RUNS = "ExperimentRun/dcid."
"""Beginning of the names of a run's logs and artefacts, in the datastore of artefacts."""
OUTPUTS = "azureml/"
"""Beginning of the names of a run's outputs, in the default datastore."""
STEP_LOG = "user_logs/std_log.txt"
EXECUTION_LOGS = {"pipeline": "logs/azureml/executionlogs.txt", "sweep": "azureml-logs/hyperdrive.txt"}
"""The logs that azure-ai-ml streams of what runs other things."""


def run_blobs(records: JobRecords, layout: Layout) -> dict[str, FilesByName]:
    """Give the blobs of runs by their container.

    Args:
        records: The records of all jobs.
        layout: The workspace's paths.
    """
    return {
        names.ARTIFACT_CONTAINER: RunBlobs(records, RUNS, RunArtifacts(layout.run_logs)),
        names.DEFAULT_CONTAINER: RunBlobs(records, OUTPUTS, run_outputs),
    }


def run_outputs(run: JobRun, record: JobRecord) -> Mapping[str, Path]:
    """Give a run's declared outputs."""
    del record
    return run.outputs


class RunArtifacts:
    """Gives a run's logs and artefacts, files and folders, by the names that Azure gives them.

    Args:
        logs: Folder for the logs of pipelines and sweeps, which are written when somebody wants them.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    def __call__(self, run: JobRun, record: JobRecord) -> Mapping[str, Path]:
        """Find what there is of a run.

        Args:
            run: The run.
            record: Its job.
        """
        found: dict[str, Path] = {}
        if run.artifacts is not None:
            found["outputs"] = run.artifacts
        if run.kind in EXECUTION_LOGS:
            path = self._logs / f"{run.id}.txt"
            write_atomically(path, execution_log(record, run).encode())
            found[EXECUTION_LOGS[run.kind]] = path
        elif run.log is not None:
            # A distributed command has a log for each of its processes beside the first one's.
            found |= {f"user_logs/{path.name}": path for path in sorted(run.log.parent.glob("std_log*.txt"))}
        return {name: path for name, path in found.items() if path.exists()}


class RunBlobs:
    """The blobs of runs.

    Args:
        records: The records of all jobs.
        start: Beginning of all their names; the run's id follows.
        content: Gives the files and folders of a run by their names.
    """

    def __init__(
        self, records: JobRecords, start: str, content: Callable[[JobRun, JobRecord], Mapping[str, Path]]
    ) -> None:
        self._records = records
        self._start = start
        self._content = content

    def get(self, name: str) -> Path | None:
        """Find the file of a blob."""
        return next((path for found, path in self.find(name) if found == name), None)

    def find(self, prefix: str) -> Iterator[tuple[str, Path]]:
        """Find the blobs whose names start with a prefix; one that does not name a run finds none."""
        if not prefix.startswith(self._start):
            return
        run_id, slash, rest = prefix.removeprefix(self._start).partition("/")
        run = self._records.run(run_id) if slash and run_id else None
        record = None if run is None else self._records.find(run.job)
        if run is None or record is None:
            return
        for name, path in _files(self._content(run, record)):
            if name.startswith(rest):
                yield f"{self._start}{run_id}/{name}", path


def _files(folders: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name, path in folders.items():
        if path.is_file():
            yield name, path
        elif path.is_dir():
            root = path.resolve()
            for folder, _, files in walk_folders(root):
                for file in files:
                    yield f"{name}/{Path(folder, file).relative_to(root).as_posix()}", Path(folder, file)
