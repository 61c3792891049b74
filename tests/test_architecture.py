"""The lines that docs/architecture.md draws, held."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(("package", "other"), [("amlocal", "finetune"), ("finetune", "amlocal")])
def test_neither_package_imports_the_other(package: str, other: str) -> None:
    files = list((SOURCE / package).rglob("*.py"))
    assert files
    assert [path for path in files if other in imported_packages(path)] == []


def test_components_import_no_other_component_and_not_amlocal() -> None:
    components = SOURCE.parent / "components"
    stages = {path.name for path in components.iterdir() if path.is_dir()}
    for path in components.rglob("*.py"):
        imported = imported_packages(path)
        assert "amlocal" not in imported, path
        assert not imported & (stages - {path.parent.name}), path


def test_no_stage_asks_whether_it_runs_locally() -> None:
    for path in [*(SOURCE / "finetune").rglob("*.py"), *(SOURCE.parent / "components").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.If):
                assert "local" not in ast.unparse(node.test).lower(), f"{path}:{node.lineno}"
