import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.model import CodeSpec
from amlocal.reader.source import Place
from amlocal.run.digest import DigestCache
from amlocal.run.snapshot import snapshot_files, take


@pytest.fixture
def code(tmp_path):
    def make(files, includes=(), root="code"):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        place = Place(tmp_path / "component.yml", 3)
        return CodeSpec(tmp_path / root if root else None, tuple(tmp_path / name for name in includes), place)

    return make


@pytest.fixture
def digests(tmp_path):
    cache = DigestCache(tmp_path / "cache" / "digests.sqlite")
    yield cache
    cache.close()


def test_code_at_the_top_and_includes_by_their_base_name(code):
    spec = code({"code/a.py": "", "code/b/c.py": "", "lib/d.py": "", "e.txt": ""}, ["lib", "e.txt"])

    assert sorted(snapshot_files(spec)) == ["a.py", "b/c.py", "e.txt", "lib/d.py"]


def test_code_may_be_one_file_or_nothing(code):
    assert sorted(snapshot_files(code({"code/a.py": ""}, root="code/a.py"))) == ["a.py"]
    assert snapshot_files(code({}, root=None)) == {}


def test_leftovers_of_python_and_git_are_never_part_of_it(code):
    spec = code(
        {
            "code/a.py": "",
            "code/__pycache__/a.pyc": "",
            "code/.git/config": "",
            "code/b/__pycache__/x.pyc": "",
            "lib/__pycache__/x.pyc": "",
            "lib/x.py": "",
        },
        ["lib"],
    )

    assert sorted(snapshot_files(spec)) == ["a.py", "lib/x.py"]


@pytest.mark.parametrize("name", [".gitignore", ".amlignore"])
def test_ignore_file_of_the_code_folder(code, name):
    rules = "# comment\ndata/\n*.log\n!keep.log\n/top.txt\n"
    files = ["a.py", "data/x.csv", "b/data/y.csv", "x.log", "b/keep.log", "top.txt", "b/top.txt"]
    spec = code({**{f"code/{file}": "" for file in files}, f"code/{name}": rules})

    assert sorted(snapshot_files(spec)) == [name, "a.py", "b/keep.log", "b/top.txt"]


def test_amlignore_replaces_gitignore(code):
    spec = code({"code/.gitignore": "a.py", "code/.amlignore": "b.py", "code/a.py": "", "code/b.py": ""})

    assert sorted(snapshot_files(spec)) == [".amlignore", ".gitignore", "a.py"]


def test_include_with_the_name_of_something_in_the_code_is_an_error(code):
    spec = code({"code/lib/a.py": "", "lib/b.py": ""}, ["lib"])

    with pytest.raises(AmlocalError, match=r"component\.yml:3: additional_includes: lib is in the code folder"):
        snapshot_files(spec)


def test_snapshot_is_a_copy_that_depends_on_content_alone(code, digests, tmp_path):
    spec = code({"code/a.py": "one"})
    store = tmp_path / "store"

    first = take(spec, digests, store)
    (tmp_path / "code" / "a.py").write_text("two")
    second = take(spec, digests, store)
    (tmp_path / "code" / "a.py").write_text("one")
    third = take(spec, digests, store)

    assert (first.folder / "a.py").read_text() == "one"
    assert (second.folder / "a.py").read_text() == "two"
    assert third == first
    assert sorted(path.name for path in store.iterdir()) == sorted([first.folder.name, second.folder.name])


def test_digest_notices_a_change_that_keeps_size_and_time(tmp_path, digests):
    import os

    path = tmp_path / "x"
    path.write_text("aaaa")
    os.utime(path, ns=(10**18, 10**18))
    before = digests.file(path)
    path.write_text("bbbb")
    os.utime(path, ns=(10**18, 10**18))

    assert digests.file(path) != before


def test_folder_digest_depends_on_names_and_contents(tmp_path, digests):
    for name, files in {"a": {"x": "1", "s/y": "2"}, "b": {"x": "1", "s/y": "2"}, "c": {"x": "2", "s/y": "1"}}.items():
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)

    assert digests.tree(tmp_path / "a") == digests.tree(tmp_path / "b")
    assert digests.tree(tmp_path / "a") != digests.tree(tmp_path / "c")
