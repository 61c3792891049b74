"""Every environment pins what the project pins, and holds what its component imports."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONDA_FILES = sorted([*ROOT.glob("environments/*/conda.yml"), *ROOT.glob("endpoints/*/conda.yml")])
STAGES = (
    *("prep", "train", "adapt_automl", "compress", "evaluate", "choose", "register", "deploy"),
    "compare",
)
DISTRIBUTION = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "mlflow": "mlflow",
    "azure.ai.ml": "azure-ai-ml",
    "azure.identity": "azure-identity",
    "azureml_inference_server_http": "azureml-inference-server-http",
}
BROUGHT_BY = {
    "huggingface_hub": "transformers",
    "httpx2": "transformers",
    "marshmallow": "azure-ai-ml",
    "azure.core": "azureml-mlflow",
    "tokenizers": "transformers",
}


def pins(path: Path) -> dict[str, str]:
    dependencies = yaml.safe_load(path.read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in dependencies if isinstance(entry, dict))
    for line in pip:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), f"{path}: {line} is not an exact pin"
    return {name.lower(): version for name, version in (line.split("==") for line in pip)}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {name.lower(): version for name, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize("path", CONDA_FILES, ids=lambda path: path.parent.name)
def test_pins_are_the_projects(path: Path) -> None:
    known = constraints()
    assert {name: version for name, version in pins(path).items() if known.get(name) != version} == {}


def imports_of(path: Path) -> set[str]:
    """Return the dotted names a module imports when it runs, at its top and inside its functions."""
    found = set()
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue  # type checkers alone read it
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def reachable_imports(start: Path) -> set[str]:
    """Follow the imports of our own modules from a script; return everything else that is imported on the way."""
    queue, seen, outside = [start, *start.parent.glob("*.py")], set(), set()
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imports_of(path):
            ours = ROOT / "src" / Path(*name.split("."))
            if (start.parent / f"{name}.py").exists():
                queue.append(start.parent / f"{name}.py")
            elif ours.with_suffix(".py").exists():
                queue.append(ours.with_suffix(".py"))
            elif (ours / "__init__.py").exists():
                queue.append(ours / "__init__.py")
            else:
                outside.add(name)
    return outside


def distribution_of(module: str) -> str | None:
    import sys

    if module.split(".")[0] in sys.stdlib_module_names:
        return None
    for prefix, distribution in {**DISTRIBUTION, **BROUGHT_BY}.items():
        if module == prefix or module.startswith(f"{prefix}."):
            return distribution
    return module.split(".")[0].replace("_", "-")


@pytest.mark.parametrize("stage", STAGES)
def test_an_environment_holds_what_its_component_imports(stage: str) -> None:
    needed = {distribution_of(name) for name in reachable_imports(ROOT / "components" / stage / f"{stage}.py")} - {None}
    assert needed - set(pins(ROOT / "environments" / stage / "conda.yml")) == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("endpoints/*/score.py")), ids=lambda path: path.parent.name)
def test_a_serving_environment_holds_what_score_imports(path: Path) -> None:
    needed = {distribution_of(name) for name in imports_of(path)} - {None}
    scripts = sorted((ROOT / "src/finetune/tasks").glob("*_model.py"))
    assert len(scripts) == 3
    model_code = {distribution_of(name) for script in scripts for name in imports_of(script)}
    assert (needed | model_code) - {None} - set(pins(path.with_name("conda.yml"))) == set()


@pytest.mark.parametrize("path", sorted(ROOT.glob("environments/*/environment.yml")), ids=lambda path: path.parent.name)
def test_images_are_pinned_to_a_release(path: Path) -> None:
    value = yaml.safe_load(path.read_text())
    assert re.search(r":\d{8}\.v\d+$", value["image"])
    assert (path.parent / value["conda_file"]).is_file()
