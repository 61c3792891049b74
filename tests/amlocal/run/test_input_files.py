from pathlib import Path

import pytest

from amlocal.reader.model import LiteralBinding, PathBinding
from amlocal.reader.source import Place
from amlocal.run.digest import StoppedError
from amlocal.run.input_files import changes, input_states
from amlocal.run.services import Given

PLACE = Place(Path("job.yml"), 1)


def states(home, go_on=lambda: None, **paths):
    inputs = {name: PathBinding(path, PLACE) for name, path in paths.items()} | {"n": LiteralBinding(1, PLACE)}
    given = {name: Given(str(path), "") for name, path in paths.items()} | {"n": Given("1", "")}
    return input_states(inputs, given, home, go_on)


def test_files_that_are_changed_added_removed_and_replaced_are_named(tmp_path):
    data, single = tmp_path / "data", tmp_path / "one.txt"
    data.mkdir()
    for name in ("calm", "gone", "longer"):
        (data / name).write_text("a")
    single.write_text("a")
    before = states(tmp_path / "home", data=data, single=single)
    assert not list(changes(before, states(tmp_path / "home", data=data, single=single)))

    (data / "longer").write_text("ab")
    (data / "gone").unlink()
    (data / "new").touch()
    (data / "newer").touch()
    other = tmp_path / "other.txt"
    other.write_text("b")
    other.rename(single)

    first, second = changes(before, states(tmp_path / "home", data=data, single=single))
    assert first.startswith("input data changed while it ran (gone, longer, new and 1 more)")
    assert second.startswith("input single changed while it ran (one.txt)")


def test_input_that_holds_the_home_is_left_out(tmp_path):
    (tmp_path / "data").mkdir()

    assert states(tmp_path / ".amlocal", all=tmp_path, data=tmp_path / "data").keys() == {"data"}


def test_canceled_job_gives_up_looking(tmp_path):
    (tmp_path / "a.txt").touch()

    def stop() -> None:
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        states(tmp_path / "home", stop, data=tmp_path / "a.txt")
