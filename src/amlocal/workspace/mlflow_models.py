"""MLflow's model registry, kept in the workspace's own models: what MLflow registers, Azure's client shows."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModel, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    NOT_IMPLEMENTED,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils, SearchUtils

from amlocal.workspace import names
from amlocal.workspace.blob_files import blobs_below, open_blobs
from amlocal.workspace.blobs import Blob
from amlocal.workspace.datastores import locate
from amlocal.workspace.errors import ArmError
from amlocal.workspace.folders import build_folder, model_files
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Json, Resource, Store
from amlocal.workspace.versions import NAME, delete_version, latest_version, next_version

NO_STAGE = "None"
RUN_PROPERTY = "mlflow.run"
"""Property of a version: the run that it was registered from."""

_STAGES = {stage.lower(): stage for stage in (NO_STAGE, "Staging", "Production", "Archived")}
_RUN_ARTIFACT = re.compile(
    r"(?:mlflow-artifacts:/|azureml://.*/experiments/)(?P<experiment>[\w-]+)/(?:runs/)?(?P<run>[\w-]+)"
    r"/artifacts/(?P<path>.+)"
)
_UPLOADED = re.compile(r"azureml://artifacts/(?P<path>.+)")
_VERSION = re.compile(r"models:/(?P<name>[^/]+)/(?P<version>[^/]+)")
_NO_REGISTRY = "Azure ML's registered models cannot be {}"


class WorkspaceModels(AbstractStore):  # type: ignore[misc]  # mlflow has no types
    """MLflow's registry in the workspace's store. Called from several threads.

    Args:
        home: The ``--home`` folder.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home.as_uri(), None)
        self._layout = Layout(home)

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """See ``AbstractStore``."""
        if NAME.fullmatch(name or "") is None:
            raise _invalid(f"{name!r} is no name of a model; expected letters, digits, '-', '_' and '.'")
        with self._open() as store, store.transaction():
            if store.get("models", name) is not None:
                raise MlflowException(f"Registered model {name} exists already.", RESOURCE_ALREADY_EXISTS)
            properties = {"description": description or None, "tags": {tag.key: tag.value for tag in tags or ()}}
            store.put("models", name, {"properties": properties})
            return _registered_model(store, _container(store, name))

    def update_registered_model(
        self, name: str, description: str, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _change(store, _container(store, name), {"description": description})
            return _registered_model(store, _container(store, name))

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Refuse: registered models are immutable on Azure."""
        raise MlflowException(_NO_REGISTRY.format("renamed"), NOT_IMPLEMENTED)

    def delete_registered_model(self, name: str) -> None:
        """Refuse: registered models are immutable on Azure; versions can be deleted."""
        raise MlflowException(_NO_REGISTRY.format("deleted; delete its versions, or archive it"), NOT_IMPLEMENTED)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = 100,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """See ``AbstractStore``; archived models are left out."""
        with self._open() as store:
            models = [_registered_model(store, model) for model in store.members("models") if not _archived(model)]
        found = SearchModelUtils.sort(SearchModelUtils.filter(models, filter_string), order_by)
        return _page(found, max_results, page_token)

    def get_registered_model(self, name: str) -> RegisteredModel:
        """See ``AbstractStore``."""
        with self._open() as store:
            return _registered_model(store, _container(store, name))

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """See ``AbstractStore``; without stages, the latest of each."""
        with self._open() as store:
            _container(store, name)
            versions = _versions(store, name)
        latest = {version.current_stage: version for version in versions}
        wanted = [_stage(stage) for stage in stages or _STAGES]
        return [latest[stage] for stage in wanted if stage in latest]

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _set_tag(store, _container(store, name), tag.key, tag.value)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _set_tag(store, _container(store, name), key, None)

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """See ``AbstractStore``. The version takes the next free number and refers to the files, as on Azure."""
        with self._open() as store, store.transaction():
            _container(store, name)
            uri = self._model_uri(store, source)
            files = self._files(store, uri)
            if not files:
                raise MlflowException(f"There are no files at {source}.", RESOURCE_DOES_NOT_EXIST)
            is_mlflow_model = any(blob.name.endswith("/MLmodel") for blob in files)
            properties = {
                "modelUri": uri,
                "modelType": "mlflow_model" if is_mlflow_model else "custom_model",
                "isAnonymous": False,
                "isArchived": False,
                "description": description or None,
                "tags": {tag.key: tag.value for tag in tags or ()},
                "properties": {RUN_PROPERTY: run_id} if run_id else {},
                "jobName": run_id or None,
            }
            version = next_version(store, "models", name)
            resource = store.put(f"models/{name}/versions", version, {"properties": properties})
            return _model_version(name, resource)

    def update_model_version(self, name: str, version: str, description: str) -> ModelVersion:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _change(store, _version(store, name, version), {"description": description})
            return _model_version(name, _version(store, name, version))

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """See ``AbstractStore``."""
        wanted = _stage(stage)
        with self._open() as store, store.transaction():
            _version(store, name, version)
            for other in store.members(f"models/{name}/versions"):
                if archive_existing_versions and other.body["properties"].get("stage") == wanted:
                    _change(store, other, {"stage": "Archived"})
            _change(store, _version(store, name, version), {"stage": wanted})
            return _model_version(name, _version(store, name, version))

    def delete_model_version(self, name: str, version: str) -> None:
        """See ``AbstractStore``. Its files stay: they belong to a run or a datastore."""
        with self._open() as store, store.transaction():
            delete_version(store, "models", name, _version(store, name, version).name)

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        """See ``AbstractStore``."""
        with self._open() as store:
            return _model_version(name, _version(store, name, version))

    def get_model_version_download_uri(self, name: str, version: str) -> str:
        """See ``AbstractStore``: a folder among MLflow's artefacts, made once of hard links to the model's files."""
        with self._open() as store:
            uri = _version(store, name, version).body["properties"]["modelUri"]
            try:
                files = model_files(open_blobs(store, self._layout), uri)
            except ArmError as error:
                raise MlflowException(error.message, RESOURCE_DOES_NOT_EXIST) from None
        # Without the name of the folder that was registered: the version is the model's folder.
        below = {path.partition("/")[2] or path: content for path, content in files.items()}
        build_folder(self._layout.run_artifacts / names.MODEL_FOLDERS / name / version, below, link=True)
        return f"mlflow-artifacts:/{names.MODEL_FOLDERS}/{name}/{version}"

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = 10_000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList:
        """See ``AbstractStore``; archived versions are left out."""
        with self._open() as store:
            versions = [version for model in store.members("models") for version in _versions(store, model.name)]
        found = SearchModelVersionUtils.sort(
            SearchModelVersionUtils.filter(versions, filter_string),
            order_by or ["last_updated_timestamp DESC", "name ASC", "version_number DESC"],
        )
        return _page(found, max_results, page_token)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _set_tag(store, _version(store, name, version), tag.key, tag.value)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """See ``AbstractStore``."""
        with self._open() as store, store.transaction():
            _set_tag(store, _version(store, name, version), key, None)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Refuse; see ``get_model_version_by_alias``."""
        raise MlflowException(_NO_ALIASES, NOT_IMPLEMENTED)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Refuse; see ``get_model_version_by_alias``."""
        raise MlflowException(_NO_ALIASES, NOT_IMPLEMENTED)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """Refuse: nothing says that Azure ML has them."""
        raise MlflowException(_NO_ALIASES, NOT_IMPLEMENTED)

    def list_webhooks_by_event(
        self, event: object, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList:
        """Give none: mlflow asks after each change."""
        return PagedList([], None)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Store]:
        """Open the store for one call: connections are bound to their thread."""
        with contextlib.closing(Store(self._layout.database)) as store:
            yield store

    def _files(self, store: Store, uri: str) -> list[Blob]:
        try:
            return blobs_below(open_blobs(store, self._layout), *locate(uri))
        except ArmError as error:
            raise _invalid(error.message) from None

    def _model_uri(self, store: Store, source: str) -> str:
        """Turn a source as MLflow's clients state it into an address in a datastore."""
        artifact, uploaded, version = (form.fullmatch(source) for form in (_RUN_ARTIFACT, _UPLOADED, _VERSION))
        if artifact is not None:
            path = f"{artifact['experiment']}/{artifact['run']}/artifacts/{artifact['path']}"
            return f"azureml://datastores/{names.ARTIFACT_DATASTORE}/paths/{path}"
        if uploaded is not None:
            return f"azureml://datastores/{names.DEFAULT_DATASTORE}/paths/{uploaded['path']}"
        if version is not None:
            return str(_version(store, version["name"], version["version"]).body["properties"]["modelUri"])
        return source


_NO_ALIASES = "this registry has no aliases: use a version, or tags"


def _container(store: Store, name: str) -> Resource:
    container = store.get("models", name)
    if container is None:
        raise MlflowException(f"Registered model {name} does not exist in this workspace.", RESOURCE_DOES_NOT_EXIST)
    return container


def _version(store: Store, name: str, version: str) -> Resource:
    resource = store.get(f"models/{name}/versions", str(version))
    if resource is None:
        raise MlflowException(f"Model {name} has no version {version} in this workspace.", RESOURCE_DOES_NOT_EXIST)
    return resource


def _versions(store: Store, name: str) -> list[ModelVersion]:
    """List a model's versions that are not archived, in the order of their creation.

    MLflow knows numbers only: a version of another name is the client's to see, not MLflow's.
    """
    return [
        _model_version(name, version)
        for version in store.members(f"models/{name}/versions")
        if not _archived(version) and version.name.isdecimal()
    ]


def _change(store: Store, resource: Resource, properties: Json) -> None:
    body = {**resource.body, "properties": {**resource.body.get("properties", {}), **properties}}
    store.put(resource.collection, resource.name, body)


def _set_tag(store: Store, resource: Resource, key: str, value: str | None) -> None:
    tags = {**(resource.body.get("properties", {}).get("tags") or {})}
    if value is None:
        tags.pop(key, None)
    else:
        tags[key] = value
    _change(store, resource, {"tags": tags})


def _registered_model(store: Store, container: Resource) -> RegisteredModel:
    properties = container.body.get("properties", {})
    latest = latest_version(store, "models", container.name)
    return RegisteredModel(
        container.name,
        creation_timestamp=_milliseconds(container.created),
        last_updated_timestamp=_milliseconds(container.modified),
        description=properties.get("description"),
        latest_versions=[] if latest is None else [_model_version(container.name, latest)],
        tags=[RegisteredModelTag(key, value) for key, value in (properties.get("tags") or {}).items()],
    )


def _model_version(name: str, resource: Resource) -> ModelVersion:
    properties: dict[str, Any] = resource.body["properties"]
    return ModelVersion(
        name,
        resource.name,
        _milliseconds(resource.created),
        last_updated_timestamp=_milliseconds(resource.modified),
        description=properties.get("description"),
        user_id="amlocal",
        current_stage=properties.get("stage") or NO_STAGE,
        source=properties.get("modelUri"),
        run_id=(properties.get("properties") or {}).get(RUN_PROPERTY),
        tags=[ModelVersionTag(key, value) for key, value in (properties.get("tags") or {}).items()],
    )


def _page(found: Sequence[Any], max_results: int, page_token: str | None) -> PagedList:
    start = SearchUtils.parse_start_offset_from_page_token(page_token)
    end = start + max_results
    return PagedList(found[start:end], SearchUtils.create_page_token(end) if end < len(found) else None)


def _stage(name: str) -> str:
    if name.lower() not in _STAGES:
        raise _invalid(f"{name!r} is no stage; expected one of {', '.join(_STAGES.values())}")
    return _STAGES[name.lower()]


def _archived(resource: Resource) -> bool:
    return bool(resource.body.get("properties", {}).get("isArchived"))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _invalid(message: str) -> MlflowException:
    return MlflowException(message, INVALID_PARAMETER_VALUE)
