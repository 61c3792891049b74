import os
import sys
import time
from pathlib import Path

import psutil
import pytest

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


@pytest.fixture(scope="module")
def metering(benchmark):
    return benchmark("metering")


def test_words_are_split_at_dashes(metering) -> None:
    assert metering.split_commands(["--", "a", "-x", "--", "b"]) == [["a", "-x"], ["b"]]


def test_what_a_command_leaves_behind_is_counted(metering, tmp_path: Path) -> None:
    burn = [sys.executable, "-c", BURN.format(seconds=0.4)]
    # Its parent has ended before it, as a daemon's has.
    leave = [
        sys.executable,
        "-c",
        f"import subprocess\nsubprocess.Popen({burn!r}, start_new_session=True)\n",
    ]
    cost = metering.metered([leave, burn], 30, os.environ, tmp_path / "figures.json")
    assert cost.cpu_seconds >= 0.8
    assert cost.wall_seconds > 0


def test_what_does_not_end_is_ended_and_said(metering, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pid = tmp_path / "pid"
    sleep = f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    start = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {sleep!r}], start_new_session=True)\n"
    began = time.monotonic()
    with pytest.raises(SystemExit, match="what was to be metered failed"):
        metering.metered([[sys.executable, "-c", start]], 3, os.environ, tmp_path / "figures.json")
    assert time.monotonic() - began < 50
    assert "still there after 3.0 s, and ended" in capfd.readouterr().err.replace("after 3 s", "after 3.0 s")
    assert not pid.exists() or not psutil.pid_exists(int(pid.read_text()))
    assert not (tmp_path / "figures.json").exists()


def test_a_command_that_fails_is_said_and_the_next_one_still_runs(
    metering, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        metering.metered([["false"], ["touch", str(tmp_path / "ran")]], 5, os.environ, tmp_path / "figures.json")
    assert "failed: false" in capfd.readouterr().err
    assert (tmp_path / "ran").exists()
