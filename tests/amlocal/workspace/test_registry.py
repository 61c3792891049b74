"""What the unmodified client registers, as jobs find it: files on disk, without a daemon."""

import shutil
import uuid
from pathlib import Path

import pytest
from azure.ai.ml import MLClient, load_component
from azure.ai.ml.entities import Data, Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from amlocal.reader.addresses import AssetReference, DatastorePath
from amlocal.reader.job import read_job
from amlocal.reader.plan import read_plan
from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.registry import NewVersion, Registry

COMPONENT = """\
type: command
name: NAME
environment: {image: base:1, conda_file: conda.yml}
code: ./src
additional_includes: [./extra.py]
is_deterministic: false
inputs:
  data: {type: uri_folder, mode: download}
  count: {type: integer, default: 3, min: 1, max: 9}
  rate: {type: number, default: 1e-3}
  kind: {type: string, enum: [a, "1"], default: a, optional: true}
  flag: {type: boolean, default: false}
outputs:
  out: {type: uri_folder, mode: upload}
command: >-
  python main.py ${{inputs.data}} ${{inputs.count}} ${{inputs.rate}} ${{inputs.flag}} $[[--k ${{inputs.kind}}]]
  ${{outputs.out}}
"""
PIPELINE = """\
type: pipeline
name: NAME_whole
inputs:
  data: {type: uri_folder}
  count: {type: integer, default: 4}
outputs:
  result: {type: uri_folder}
jobs:
  first:
    type: command
    component: ./component.yml
    compute: azureml:cpu-cluster
    inputs: {data: "${{parent.inputs.data}}", count: "${{parent.inputs.count}}"}
    limits: {timeout: 90}
  second:
    type: command
    component: azureml:NAME@latest
    inputs:
      data: ${{parent.jobs.first.outputs.out}}
      kind: "1"
    environment_variables: {B: c}
    outputs: {out: "${{parent.outputs.result}}"}
  tune:
    type: sweep
    trial: ./component.yml
    inputs: {data: "${{parent.inputs.data}}"}
    search_space:
      count: {type: choice, values: [1, 2]}
      rate: {type: uniform, min_value: 0.1, max_value: 0.2}
    sampling_algorithm: {type: random, rule: sobol, seed: 3}
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 4, max_concurrent_trials: 2, timeout: 3600}
    early_termination: {type: median_stopping, evaluation_interval: 2, delay_evaluation: 1}
"""


@pytest.fixture
def name() -> str:
    return f"thing_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def registry(workspace: WorkspaceConnection) -> Registry:
    return Registry(workspace.home)


@pytest.fixture
def project(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "project"
    (folder / "src" / "inner").mkdir(parents=True)
    (folder / "src" / "main.py").write_text("print('main')\n")
    (folder / "src" / "inner" / "more.py").write_text("")
    (folder / "extra.py").write_text("x = 1\n")
    (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
    (folder / "component.yml").write_text(COMPONENT.replace("NAME", name))
    (folder / "pipeline.yml").write_text(PIPELINE.replace("NAME", name))
    return folder


def data(name: str, path: Path | str, kind: str = "uri_folder", **more: object) -> Data:
    return Data(name=name, path=str(path), type=kind, **more)


def test_the_version_after_10_is_11(ml_client: MLClient, name: str, project: Path) -> None:
    """Compared as texts, 9 would be the greatest of them for ever."""
    for stated, version in (("9", "9"), (None, "10"), (None, "11")):
        (project / "src" / "main.py").write_text(f"{version}\n")
        assert ml_client.data.create_or_update(data(name, project / "src", version=stated)).version == version


def test_data_has_versions_by_number_and_the_latest_is_the_one_created_last(
    ml_client: MLClient, name: str, project: Path, registry: Registry
) -> None:
    for stated, version in (("2", "2"), ("9", "9"), (None, "10")):
        (project / "src" / "main.py").write_text(f"{version}\n")
        assert ml_client.data.create_or_update(data(name, project / "src", version=stated)).version == version
    ml_client.data.create_or_update(data(name, project / "src", version="0.9"))

    assert ml_client.data.get(name, label="latest").version == "0.9"
    ml_client.data.archive(name, "0.9")
    latest = registry.data(AssetReference(name, label="latest"))
    assert latest is not None
    assert (latest.version, latest.type) == ("10", "uri_folder")
    assert ml_client.data.get(name, label="latest").version == "10"
    shutil.rmtree(project)
    second = registry.data(AssetReference(name, "2"))
    assert second is not None
    assert (second.path / "main.py").read_text() == "2\n"
    assert sorted(path.name for path in second.path.rglob("*")) == ["inner", "main.py", "more.py"]
    assert [each.version for each in ml_client.data.list(name)] == ["10", "9", "2"]
    assert {each.name: each.latest_version for each in ml_client.data.list()}[name] == "10"


def test_a_version_of_data_is_immutable(ml_client: MLClient, name: str, project: Path) -> None:
    ml_client.data.create_or_update(data(name, project / "extra.py", "uri_file", version="1"))
    with pytest.raises(ResourceExistsError, match=f"data asset {name}:1 exists and its dataUri cannot be changed"):
        ml_client.data.create_or_update(data(name, project / "conda.yml", "uri_file", version="1"))
    updated = ml_client.data.get(name, "1")
    updated.tags = {"checked": "yes"}
    assert ml_client.data.create_or_update(updated).tags == {"checked": "yes"}
    with pytest.raises(HttpResponseError, match="There are no files at"):
        ml_client.data.create_or_update(data(name, "azureml://datastores/workspaceblobstore/paths/no/where"))


def test_files_and_addresses_are_data_too(ml_client: MLClient, name: str, project: Path, registry: Registry) -> None:
    ml_client.data.create_or_update(data(name, project / "extra.py", "uri_file"))
    ml_client.data.create_or_update(data(name, "https://example.org/x.csv", "uri_file"))

    file, address = registry.data(AssetReference(name, "1")), registry.data(AssetReference(name, "2"))

    assert file is not None
    assert (file.path.name, file.path.read_text()) == ("extra.py", "x = 1\n")
    assert address is not None
    assert (address.path, address.uri) == (None, "https://example.org/x.csv")
    assert registry.data(AssetReference(name, "3")) is None
    assert registry.data(AssetReference("nothing", label="latest")) is None


def test_models_come_as_what_was_registered(ml_client: MLClient, name: str, project: Path, registry: Registry) -> None:
    ml_client.models.create_or_update(Model(name=name, path=str(project / "src"), type="mlflow_model"))

    found = registry.model(AssetReference(name, "1"))

    assert found is not None
    assert (found.type, (found.path / "main.py").read_text()) == ("mlflow_model", "print('main')\n")
    assert registry.data(AssetReference(name, "1")) is None


def test_a_component_keeps_code_and_environment(
    ml_client: MLClient, name: str, project: Path, registry: Registry, tmp_path: Path
) -> None:
    registered = ml_client.components.create_or_update(load_component(project / "component.yml"))
    original = read_job(_job_of(tmp_path, str(project / "component.yml")), assets=registry)
    first = original.graph.nodes["step"].component
    assert registered.version == "1"
    assert ml_client.components.get(name).version == "1"
    shutil.rmtree(project)

    for reference in (f"azureml:{name}:1", f"azureml:{name}@latest", f"azureml:{name}", registered.id):
        job = read_job(_job_of(tmp_path, reference), assets=registry)
        component = job.graph.nodes["step"].component
        assert job.unresolved == ()
        assert component.command.text == first.command.text
        assert not component.deterministic
        for key, spec in component.inputs.items():
            ours, theirs = first.inputs[key], spec
            assert (theirs.type, theirs.optional, theirs.default, theirs.minimum, theirs.maximum, theirs.enum) == (
                ours.type,
                ours.optional,
                ours.default,
                ours.minimum,
                ours.maximum,
                ours.enum,
            )
        assert {key: spec.type for key, spec in component.outputs.items()} == {"out": "uri_folder"}
        assert component.environment.definition == first.environment.definition
        files = sorted(path.relative_to(component.code.root).as_posix() for path in component.code.root.rglob("*.py"))
        assert files == ["extra.py", "inner/more.py", "main.py"]


def test_pipeline_components_keep_their_nodes(
    ml_client: MLClient, name: str, project: Path, registry: Registry, tmp_path: Path
) -> None:
    ml_client.components.create_or_update(load_component(project / "component.yml"))
    written = read_plan(_job_of(tmp_path, str(project / "pipeline.yml")), assets=registry)
    ml_client.components.create_or_update(load_component(project / "pipeline.yml"))
    shutil.rmtree(project)

    plan = read_plan(_job_of(tmp_path, f"azureml:{name}_whole:1"), assets=registry)

    for ours, theirs in zip(written.steps, plan.steps, strict=True):
        assert ours.name == theirs.name
        assert ours.depends == theirs.depends
        assert ours.node.component.command == theirs.node.component.command
        assert ours.timeout == theirs.timeout
        assert ours.node.component.environment_variables == theirs.node.component.environment_variables
        assert {key: str(getattr(value, "value", value)) for key, value in ours.inputs.items() if key != "data"} == {
            key: str(getattr(value, "value", value)) for key, value in theirs.inputs.items() if key != "data"
        }
    ours, theirs = (next(step.node.sweep for step in each.steps if step.node.sweep) for each in (written, plan))
    for part in ("sampling", "early_termination", "limits", "primary_metric", "goal"):
        assert getattr(ours, part) == getattr(theirs, part)
    assert [distribution.type for distribution in theirs.search_space.values()] == ["choice", "uniform"]


def test_what_a_job_registers_is_there_for_the_client(
    ml_client: MLClient, name: str, project: Path, registry: Registry, tmp_path: Path
) -> None:
    ml_client.data.create_or_update(data(name, project / "extra.py", "uri_file"))
    for kind in ("uri_folder", "mlflow_model"):
        address = DatastorePath("workspaceblobstore", f"azureml/{name}/{kind}")
        registry.write(project / "src", address)
        registry.register(NewVersion(name, None, kind, address, "digest", "job"))

    found = ml_client.data.get(name, label="latest")
    assert (found.version, found.properties["amlocal.job"]) == ("2", "job")
    assert found.path.endswith(f"datastores/workspaceblobstore/paths/azureml/{name}/uri_folder")
    model = ml_client.models.get(name, label="latest")
    assert (model.version, model.type) == ("1", "mlflow_model")
    ml_client.models.download(name, "1", download_path=str(tmp_path))
    assert (tmp_path / name / "mlflow_model" / "main.py").read_text() == "print('main')\n"


PARALLEL = """\
type: parallel
name: NAME
inputs:
  data: {type: uri_folder}
outputs:
  out: {type: uri_file}
input_data: ${{inputs.data}}
mini_batch_size: "3"
retry_settings: {max_retries: 2, timeout: 60}
task:
  type: run_function
  code: ./src
  entry_script: main.py
  environment: azureml:any:1
  append_row_to: ${{outputs.out}}
"""
PARALLEL_PIPELINE = """\
type: pipeline
name: NAME_whole
inputs:
  data: {type: uri_folder}
jobs:
  split:
    type: parallel
    component: ./component.yml
    inputs: {data: "${{parent.inputs.data}}"}
    retry_settings: {max_retries: 3, timeout: 30}
"""


def test_parallel_components_keep_their_code(
    ml_client: MLClient, name: str, project: Path, registry: Registry, tmp_path: Path
) -> None:
    (project / "component.yml").write_text(PARALLEL.replace("NAME", name))
    (project / "pipeline.yml").write_text(PARALLEL_PIPELINE.replace("NAME", name))
    ml_client.environments.create_or_update(Environment(name="any", version="1", image="base:1"))
    written = read_plan(_job_of(tmp_path, str(project / "pipeline.yml")), assets=registry)
    ml_client.components.create_or_update(load_component(project / "pipeline.yml"))
    shutil.rmtree(project)

    plan = read_plan(_job_of(tmp_path, f"azureml:{name}_whole@latest"), assets=registry)

    component = plan.steps[0].node.component
    ours, theirs = (each.steps[0].node.component.parallel for each in (written, plan))
    for part in ("entry_script", "arguments", "input_data", "append_row_to"):
        assert getattr(ours, part) == getattr(theirs, part)
    for part, value in {"mini_batch_size": 3, "max_retries": 3, "timeout": 30}.items():
        assert int(getattr(theirs, part).value) == value
    assert (component.code.root / "main.py").read_text() == "print('main')\n"


def _job_of(tmp_path: Path, component: str) -> Path:
    path = tmp_path / "job.yml"
    (tmp_path / "data").mkdir(exist_ok=True)
    path.write_text(
        "type: pipeline\njobs:\n  step:\n"
        f"    component: {component}\n    inputs:\n      data: {{type: uri_folder, path: ./data}}\n"
    )
    return path


def test_a_changed_component_needs_a_new_version(ml_client: MLClient, name: str, project: Path) -> None:
    path = project / "component.yml"
    ml_client.components.create_or_update(load_component(path), version="5")
    assert ml_client.components.create_or_update(load_component(path), version="5").version == "5"
    path.write_text(path.read_text().replace("python main.py", "python extra.py"))
    with pytest.raises(ResourceExistsError, match=f"component {name}:5 exists and its componentSpec cannot be changed"):
        ml_client.components.create_or_update(load_component(path), version="5")
    assert ml_client.components.create_or_update(load_component(path)).version == "6"


def test_environments_are_found_with_their_definition(ml_client: MLClient, name: str, registry: Registry) -> None:
    ml_client.environments.create_or_update(Environment(name=name, version="3", image="base:1"))

    path = registry.environment(AssetReference(name, label="latest"))

    assert path is not None
    assert path.read_text() == f"name: {name}\nversion: '3'\nimage: base:1\n"
    assert registry.environment(AssetReference(name, "2")) is None


def test_what_lies_in_a_datastores_folder_is_a_blob_and_the_other_way_round(
    ml_client: MLClient, name: str, workspace: WorkspaceConnection, registry: Registry, tmp_path: Path
) -> None:
    folder = workspace.home / "datastores" / "workspaceblobstore" / name
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("a\n")
    assert registry.datastore(DatastorePath("workspaceblobstore", name)) == folder
    ml_client.models.create_or_update(Model(name=name, path=f"azureml://datastores/workspaceblobstore/paths/{name}"))
    ml_client.models.download(name, "1", download_path=str(tmp_path))
    assert (tmp_path / name / name / "a.csv").read_text() == "a\n"

    uploaded = ml_client.data.create_or_update(data(name, folder))
    uri = uploaded.path.partition("/paths/")[2]
    found = registry.datastore(DatastorePath("workspaceblobstore", uri))
    assert found is not None
    assert (found / "a.csv").read_text() == "a\n"
    assert registry.datastore(DatastorePath("workspaceblobstore", f"{name}/none")) is None
    assert registry.datastore(DatastorePath("workspaceblobstore", "../../workspace")) is None
    assert registry.datastore(DatastorePath("elsewhere", name)) is None
