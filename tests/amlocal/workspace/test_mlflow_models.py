"""MLflow's registry in the workspace's own models."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import DatastorePath
from amlocal.workspace import names
from amlocal.workspace.layout import Layout
from amlocal.workspace.mlflow_models import WorkspaceModels
from amlocal.workspace.registry import NewVersion, Registry
from amlocal.workspace.store import Store

SOURCE = "mlflow-artifacts:/1/abc/artifacts/model"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which a run has logged a model."""
    layout = Layout(tmp_path)
    layout.create()
    with closing(Store(layout.database)):
        pass
    model = layout.run_artifacts / "1" / "abc" / "artifacts" / "model"
    model.mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}")
    return tmp_path


@pytest.fixture
def models(home: Path) -> WorkspaceModels:
    """The registry, with a model that has no version yet."""
    registry = WorkspaceModels(home)
    registry.create_registered_model("intent", [RegisteredModelTag("team", "a")], "what users want")
    return registry


def test_versions_are_counted_described_tagged_and_found(models: WorkspaceModels) -> None:
    first = models.create_model_version("intent", SOURCE, "abc", [ModelVersionTag("k", "v")], description="first")
    second = models.create_model_version("intent", f"models:/intent/{first.version}")
    assert (first.version, second.version) == ("1", "2")
    assert second.source == first.source
    models.update_model_version("intent", "1", "better said")
    models.set_model_version_tag("intent", "1", ModelVersionTag("more", "x"))
    models.delete_model_version_tag("intent", "1", "k")
    read = models.get_model_version("intent", "1")
    assert (read.description, read.tags, read.run_id) == ("better said", {"more": "x"}, "abc")
    assert [version.version for version in models.search_model_versions("run_id = 'abc'")] == ["1"]
    assert [model.name for model in models.search_registered_models("name LIKE 'int%'")] == ["intent"]
    model = models.get_registered_model("intent")
    assert (model.description, model.tags, model.latest_versions[0].version) == (
        "what users want",
        {"team": "a"},
        "2",
    )


def test_pages_hold_all_versions_once(models: WorkspaceModels) -> None:
    for _ in range(5):
        models.create_model_version("intent", SOURCE)
    found, token = [], None
    while page := models.search_model_versions(max_results=2, page_token=token):
        found += [version.version for version in page]
        token = page.token
        if not token:
            break
    assert sorted(found) == ["1", "2", "3", "4", "5"]


def test_a_stage_holds_its_latest_version(models: WorkspaceModels) -> None:
    for _ in range(2):
        models.create_model_version("intent", SOURCE)
    models.transition_model_version_stage("intent", "1", "production", False)
    models.transition_model_version_stage("intent", "2", "Production", True)
    assert [version.version for version in models.get_latest_versions("intent", ["Production"])] == ["2"]
    assert models.get_model_version("intent", "1").current_stage == "Archived"


@pytest.mark.rule("The number of a deleted version is never given again")
def test_a_deleted_versions_number_is_never_given_again(models: WorkspaceModels, home: Path) -> None:
    models.create_model_version("intent", SOURCE)
    models.delete_model_version("intent", "1")
    assert models.create_model_version("intent", SOURCE).version == "2"
    address = DatastorePath(names.ARTIFACT_DATASTORE, "1/abc/artifacts/model")
    registry = Registry(home)
    assert registry.register(NewVersion("intent", None, "mlflow_model", address, "digest", "job")) == "3"
    with pytest.raises(AmlocalError, match="intent:1 was deleted"):
        registry.register(NewVersion("intent", "1", "mlflow_model", address, "digest", "job"))


def test_the_download_folder_is_the_model_itself(models: WorkspaceModels, home: Path) -> None:
    models.create_model_version("intent", SOURCE)
    assert models.get_model_version_download_uri("intent", "1") == "mlflow-artifacts:/registered-models/intent/1"
    folder = Layout(home).run_artifacts / "registered-models" / "intent" / "1"
    assert [path.name for path in folder.iterdir()] == ["MLmodel"]


def test_versions_registered_at_the_same_time_get_numbers_of_their_own(models: WorkspaceModels) -> None:
    threads = [threading.Thread(target=models.create_model_version, args=("intent", SOURCE)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(models.search_model_versions()) == 8


@pytest.mark.rule("Registered models are neither renamed nor deleted, and have no aliases")
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda models: models.create_registered_model("intent"), "exists already"),
        (lambda models: models.create_registered_model("../x"), "is no name of a model"),
        (lambda models: models.create_model_version("nobody", SOURCE), "nobody does not exist"),
        (lambda models: models.create_model_version("intent", SOURCE + "s"), "There are no files"),
        (lambda models: models.create_model_version("intent", "s3://bucket/x"), "is not in this workspace"),
        (lambda models: models.create_model_version("intent", "azureml://datastores/none/paths/x"), "datastore none"),
        (lambda models: models.transition_model_version_stage("intent", "1", "Best", False), "'Best' is no stage"),
        (lambda models: models.delete_registered_model("intent"), "cannot be deleted"),
        (lambda models: models.get_model_version_by_alias("intent", "best"), "no aliases"),
    ],
)
def test_what_cannot_be_is_refused(
    models: WorkspaceModels, call: Callable[[WorkspaceModels], object], text: str
) -> None:
    with pytest.raises(MlflowException, match=text):
        call(models)
