"""Ending the process that runs a submitted job."""

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from amlocal.run.files import JobFolder, write_atomically
from amlocal.run.jobs import is_running
from amlocal.run.records import JobRecord, to_json
from amlocal.workspace import job_runner
from amlocal.workspace.job_runner import ProcessJobRunner


def test_a_job_that_ends_by_itself_just_before_it_is_canceled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        record = JobRecord(
            "job", "command", "job.yml", "exp", status="Running", pid=process.pid, pid_started=started, steps={}
        )
        folder = JobFolder(tmp_path, "job")
        folder.record.parent.mkdir(parents=True)
        write_atomically(folder.record, to_json(record))

        def looked_at(found: JobRecord) -> bool:
            running = is_running(found)
            process.kill()
            process.wait()  # its number is free from now on
            return running

        monkeypatch.setattr(job_runner, "is_running", looked_at)
        asyncio.run(ProcessJobRunner(tmp_path, {}).cancel("job"))
    assert process.returncode is not None
