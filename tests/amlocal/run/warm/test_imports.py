from pathlib import Path

import pytest

from amlocal.run.warm.imports import local_names, shared_imports


@pytest.fixture
def shared(tmp_path: Path):
    def listed(script: str, **files: str) -> list[str]:
        for name, text in {"train": script, **files}.items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return [
            f"{'?' if each.optional else ''}{each.module}"
            + (f":{','.join(each.names)}" if each.names else "")
            + (f".{each.attributes[0]}" if each.attributes else "")
            for each in shared_imports(tmp_path, "train.py")
        ]

    return listed


def test_imports_at_the_top_in_their_order(shared):
    script = "from __future__ import annotations\nimport b, a.c as d\nfrom e.f import g, h as i\nfrom j import *\n"
    assert shared(f'"""What it does."""\n{script}') == ["b", "a.c", "e.f:g,h", "j"]


@pytest.mark.parametrize(
    "statement",
    [
        "os.environ['X'] = '1'",
        "X = os.environ.setdefault('X', '1')",
        "print('x')",
        "a.option = 1",
        "for x in []: pass",
        "with open('x') as stream: pass",
        "if a.x: import b",
        "if __name__ == '__main__':\n    a.main()",
        "try:\n    import x\nexcept ImportError:\n    a.install('x')",
        "try:\n    a.set()\nexcept ImportError:\n    pass",
        "del a",
        "assert a",
        "a += 1",
        "raise SystemExit",
    ],
)
def test_what_comes_after_something_else_is_left_to_the_script(shared, statement):
    found = shared(f"import a\n{statement}\nimport late")
    assert found[0] == "a"
    assert "late" not in found


@pytest.mark.parametrize(
    "statement",
    [
        "X = 1",
        "X: int = 1",
        "x, y = 1, 2",
        "LOGGER = getLogger(__name__)",
        "def f():\n    os.environ['X'] = '1'",
        "class C:\n    x = 1",
        "pass",
        "'text'",
        "if TYPE_CHECKING:\n    import only_for_checkers",
    ],
)
def test_definitions_and_plain_names_change_nothing_for_later_imports(shared, statement):
    assert shared(f"import a\n{statement}\nimport late") == ["a", "late"]


def test_what_may_be_missing(shared):
    script = "try:\n    import a\nexcept ImportError:\n    a = None\nelse:\n    import b\nimport c"
    assert shared(script) == ["?a", "?b", "c"]


def test_modules_of_the_directory_are_looked_into_and_never_imported(shared):
    files = {
        "first": "import from_first\nif __name__ == '__main__':\n    import never",
        "package/__init__": "import from_package",
        "package/inner": "from . import sibling\nfrom .sub.deep import y\nimport from_inner",
        "package/sibling": "import from_sibling",
        "package/sub/deep": "from .. import other\nimport from_deep",
        "package/other": "import from_other",
        "package/third": "import from_third",
        "plain/folder": "import from_folder",
    }
    script = "import first\nfrom package import inner\nfrom package.other import x\nimport package.third as t\n"
    found = shared(f"{script}import plain.folder\nfrom plain import folder\nimport last", **files)
    expected = [
        "from_first",
        "from_package",
        "from_sibling",
        "from_other",
        "from_deep",
        "from_inner",
        "from_third",
        "from_folder",
    ]
    assert found == [*expected, "last"]


def test_a_module_that_does_something_else_ends_it(shared):
    assert shared("import a\nimport first\nimport b", first="import c\nprint(c)\nimport d") == ["a", "c"]
    assert shared("import a\nimport broken\nimport b", broken="def (:") == ["a"]


def test_what_definitions_ask_of_libraries(shared):
    script = """
import lib
import deep.er as d
from other import part
@lib.decorator
def f(x: lib.Annotation = d.default, *more: part.More, **rest: lib.Rest) -> lib.Result:
    return lib.never
class C(lib.Base, metaclass=part.inner.Meta):
    field: lib.Field = d.value
    def method(self, x: lib.Inner): lib.never()
x = lib.called(d.given, lambda: lib.never)
"""
    assert sorted(shared(script)[3:]) == sorted(
        [
            *("lib.decorator", "lib.Annotation", "deep.er.default", "other.part.More", "lib.Rest", "lib.Result"),
            *("lib.Base", "other.part.inner.Meta", "lib.Field", "deep.er.value", "lib.Inner"),
            *("lib.called", "deep.er.given"),
        ]
    )
    postponed = shared(f"from __future__ import annotations{script}")
    assert "lib.Annotation" not in postponed
    assert "lib.Base" in postponed


def test_names_that_come_before_installed_ones(tmp_path):
    for name in ("one.py", "two/__init__.py", "three/data.csv", "four.cpython-311-x86_64-linux-gnu.so", "five.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert local_names(tmp_path) == {"one", "two", "four"}
