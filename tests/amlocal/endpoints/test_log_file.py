"""Logs of limited size."""

import subprocess
import sys
from pathlib import Path

from amlocal.endpoints.log_file import older, rotate, tail


def test_a_process_goes_on_writing_to_the_log_that_was_rotated(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    script = "import sys\nfor line in sys.stdin:\n    print('said', line, end='', flush=True)\n"
    with (
        log.open("ab") as output,
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=output, text=True) as process,
    ):
        assert process.stdin is not None
        for round_ in range(3):
            process.stdin.write(f"{round_}\n")
            process.stdin.flush()
            while f"said {round_}" not in tail(log, 1):
                pass
            assert rotate(log, limit=5)
            assert log.stat().st_size == 0
    assert older(log).read_text() == "said 2\n"  # the one before was dropped


def test_small_and_missing_logs_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert not rotate(log, limit=5)
    log.write_text("abc\n")
    assert not rotate(log, limit=5)
    assert not older(log).exists()


def test_the_end_of_a_log_reaches_back_into_the_older_file(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert tail(log, 3) == ""
    older(log).write_text("1\n2\n3\n")
    log.write_text("4\n")
    assert tail(log, 3) == "2\n3\n4\n"
    assert tail(log, 1) == "4\n"
