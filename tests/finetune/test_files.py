import os
from pathlib import Path

import pytest

from finetune.errors import InputError
from finetune.files import file_sha256, folder_sha256, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"score": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"score": float("nan")})
    assert read_json(path, "a value") == {"score": 1.0}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_written_files_honour_the_umask(tmp_path: Path) -> None:
    write_text(tmp_path / "open.txt", "x")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "open.txt").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("[1]", "holds a list"), (None, "no such file; expected the manifest")]
)
def test_unreadable_json_names_file_and_expectation(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_json(path, "the manifest")
    assert str(path) in str(caught.value)


def test_folder_digest_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "a.txt").write_text("a")
        (tmp_path / name / "sub" / "b.txt").write_text("b")
    os.utime(tmp_path / "two" / "a.txt", (1, 1))
    assert folder_sha256(tmp_path / "one") == folder_sha256(tmp_path / "two")
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "c.txt")
    renamed = folder_sha256(tmp_path / "two")
    assert renamed != folder_sha256(tmp_path / "one")
    (tmp_path / "two" / "c.txt").write_text("c")
    assert folder_sha256(tmp_path / "two") != renamed


def test_an_empty_folder_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder with files"):
        folder_sha256(tmp_path)


def test_file_digest_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_text("abc")
    # The digest of "abc" in FIPS 180-2, appendix B.1.
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
