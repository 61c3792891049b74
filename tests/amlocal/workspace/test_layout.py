"""A home's folder."""

from pathlib import Path

from amlocal.workspace.layout import make_home


def test_a_new_home_stays_out_of_repositories(tmp_path: Path) -> None:
    make_home(tmp_path / "a" / ".amlocal")
    assert (tmp_path / "a" / ".amlocal" / ".gitignore").read_text() == "*\n"


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    make_home(tmp_path)
    assert list(tmp_path.iterdir()) == []
