import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from amlocal.run.process import run_process, tail


def run(command: str, tmp_path: Path, **options):
    return asyncio.run(run_process(command, tmp_path, dict(os.environ), tmp_path / "logs" / "log.txt", **options))


def log(tmp_path: Path) -> str:
    return (tmp_path / "logs" / "log.txt").read_text()


def gone(pid: int) -> bool:
    """Wait until a process is gone; in a container without an init a zombie is all that stays of it."""
    for _ in range(500):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_several_lines_of_bash_with_both_streams_in_the_log(tmp_path):
    result = run("x=1\n[[ $x == 1 ]] && echo out\necho err >&2; pwd", tmp_path)

    assert (result.exit_code, result.timed_out) == (0, False)
    assert log(tmp_path) == f"out\nerr\n{tmp_path}\n"


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("none-such", 127)])
def test_exit_code_as_a_shell_shows_it(tmp_path, command, code):
    assert run(command, tmp_path).exit_code == code


def test_standard_input_is_empty(tmp_path):
    assert run("read line || echo nothing", tmp_path).exit_code == 0
    assert log(tmp_path) == "nothing\n"


BUSY = "python3 -S -c 'import time\nwhile time.process_time() < 0.3: pass'"


def test_processor_time_of_the_command_and_its_children(tmp_path):
    result = run(f"{BUSY}; {BUSY}; sleep 0.1; exit 3", tmp_path)

    assert result.exit_code == 3
    assert 0.6 <= result.cpu_seconds < result.seconds


@pytest.mark.parametrize(
    "command",
    [
        f"{BUSY}; touch done; sleep 60",
        # The shell ends before its child, which takes its time, and so never waits for it.
        f"(trap 'sleep 0.1; exit' TERM; {BUSY}; touch done; sleep 60 & wait); true",
    ],
)
def test_canceled_command_tells_what_it_used(tmp_path, command):
    told = []

    async def canceled():
        log = tmp_path / "log.txt"
        task = asyncio.create_task(run_process(command, tmp_path, dict(os.environ), log, on_end=told.append))
        while not (tmp_path / "done").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(canceled())

    assert [result.exit_code for result in told] == [128 + signal.SIGTERM]
    assert told[0].cpu_seconds >= 0.3


def test_timeout_ends_the_whole_group(tmp_path):
    result = run("sleep 60 & echo $! > pid; sleep 60", tmp_path, timeout=0.3)

    assert result.timed_out
    assert result.exit_code == 128 + signal.SIGTERM
    assert result.seconds < 5
    assert gone(int((tmp_path / "pid").read_text()))


def test_what_a_command_leaves_running_is_ended(tmp_path):
    result = run("sleep 60 & echo $! > pid", tmp_path)

    assert result.exit_code == 0
    assert gone(int((tmp_path / "pid").read_text()))


def test_cancelling_lets_the_command_clean_up(tmp_path):
    async def canceled():
        command = "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        task = asyncio.create_task(run_process(command, tmp_path, dict(os.environ), tmp_path / "log.txt"))
        while not (tmp_path / "log.txt").exists() or "ready" not in (tmp_path / "log.txt").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(canceled())
    assert (tmp_path / "log.txt").read_text().splitlines()[-1] == "cleaned"


def test_a_command_that_ignores_the_request_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("amlocal.run.process.GRACE_SECONDS", 0.2)

    result = run("trap '' TERM; while :; do sleep 0.05; done", tmp_path, timeout=0.3)

    assert result.timed_out
    assert result.exit_code == 128 + signal.SIGKILL
    assert result.seconds < 5


def test_tail_shows_what_a_progress_bar_ended_as(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(b"first\n10%\r50%\r100%\n\nlast \xff\n")

    assert tail(path) == ["first", "100%", "last �"]
    assert tail(path, 1) == ["last �"]
    assert tail(tmp_path / "none") == []
