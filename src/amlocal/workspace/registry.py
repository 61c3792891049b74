"""The workspace's assets, read and written on disk: for jobs, which need no daemon for it."""

import contextlib
import hashlib
import os
import shutil
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import AddressError, AssetReference, DatastorePath, parse_address
from amlocal.reader.assets import RegisteredPath
from amlocal.reader.model import MODEL_TYPES
from amlocal.workspace import names
from amlocal.workspace.blob_files import as_path, blobs_below, open_blobs
from amlocal.workspace.definitions import component_definition, environment_definition
from amlocal.workspace.layout import Layout, write_atomically
from amlocal.workspace.store import Json, Resource, Store
from amlocal.workspace.versions import DEFAULT_VERSION, NAME, latest_version, next_version, was_deleted

CONTENT_PROPERTY = "amlocal.content"
"""Property of a version that a job registered: the digest of its content."""


@dataclass(frozen=True)
class NewVersion:
    """A version of a data asset or model to be registered.

    Attributes:
        name: The asset.
        version: ``None`` for the next free number.
        type: ``uri_folder``, ``mlflow_model`` …; it says whether this is data or a model.
        address: Where it lies.
        content: The digest of its content.
        job: The job that wrote it.
    """

    name: str
    version: str | None
    type: str
    address: DatastorePath
    content: str
    job: str


class Registry:
    """The assets and datastores under a home folder; implements ``amlocal.reader.assets.Assets``.

    Args:
        home: The ``--home`` folder. It is written to when something is found or registered only.
    """

    def __init__(self, home: Path) -> None:
        self._layout = Layout(home)

    def data(self, reference: AssetReference) -> RegisteredPath | None:
        """Find a data asset."""
        return self._path("data", "dataUri", "dataType", "uri_folder", reference)

    def model(self, reference: AssetReference) -> RegisteredPath | None:
        """Find a model: the folder or file that was registered."""
        return self._path("models", "modelUri", "modelType", "custom_model", reference)

    def code(self, reference: AssetReference) -> Path | None:
        """Find a code snapshot: the folder or file that was uploaded."""
        with self._store() as store:
            version = None if store is None else _version(store, "codes", reference)
            if store is None or version is None:
                return None
            address = urllib.parse.urlsplit(version.body["properties"]["codeUri"])
            container, _, prefix = urllib.parse.unquote(address.path).strip("/").partition("/")
            found = blobs_below(open_blobs(store, self._layout), container, prefix)
            return as_path(found, prefix, self._layout.folders) if found else None

    def component(self, reference: AssetReference) -> Path | None:
        """Find a component: a YAML file of its definition."""
        with self._store() as store:
            version = None if store is None else _version(store, "components", reference)
        if version is None:
            return None
        definition = component_definition(version.body["properties"]["componentSpec"])
        return self._define(self._layout.components, "component.yml", definition)

    def environment(self, reference: AssetReference) -> Path | None:
        """Find an environment: a YAML file of its definition."""
        with self._store() as store:
            version = None if store is None else _version(store, "environments", reference)
        if version is None:
            return None
        definition = environment_definition(reference.name, version.name, version.body["properties"])
        return self._define(self._layout.environments, "environment.yml", definition)

    def datastore(self, address: DatastorePath) -> Path | None:
        """Find a file or folder in a datastore: in its own folder, or among what clients uploaded."""
        root = self._layout.datastore(address.datastore)
        inside = _inside(root, address.path)
        if inside is None:
            return None
        if address.datastore == names.DEFAULT_DATASTORE:
            with self._store() as store:
                blobs = None if store is None else open_blobs(store, self._layout)
                found = [] if blobs is None else blobs_below(blobs, names.DEFAULT_CONTAINER, address.path)
                if any(not blob.content.is_relative_to(root) for blob in found):
                    return as_path(found, address.path, self._layout.folders)
        return inside if inside.exists() else None

    def write(self, source: Path, address: DatastorePath) -> Path:
        """Put a file or folder into a datastore; files that are there under the same names are replaced.

        Args:
            source: What to put there; copied, so that editing one does not change the other.
            address: Where.

        Returns:
            The file or folder in the datastore.

        Raises:
            AmlocalError: The address leads out of the datastore, or a folder is in a file's place.
        """
        root = self._layout.datastore(address.datastore)
        target = _inside(root, address.path)
        if target is None or (target == root and source.is_file()):
            raise AmlocalError(f"{address.path!r} is no path inside datastore {address.datastore}")
        staging = self._layout.datastores / ".staging" / uuid.uuid4().hex
        staging.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_file():
                shutil.copyfile(source, staging)
            else:
                shutil.copytree(source, staging)
            _move_into_place(staging, target)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise AmlocalError(f"{target} cannot be written: {error.strerror}") from None
        finally:
            if staging.is_dir():
                shutil.rmtree(staging, ignore_errors=True)
            staging.unlink(missing_ok=True)
        return target

    def mount(self, address: DatastorePath, kind: str) -> Path:
        """Give the place in a datastore where a job writes an output itself.

        What clients uploaded there is put beside the files that jobs wrote, so that the job sees both.

        Args:
            address: Where.
            kind: The output's type.

        Returns:
            A folder, made where there is none; for a ``uri_file`` a file that need not be there yet.

        Raises:
            AmlocalError: The address leads out of the datastore, or a file is in a folder's place or the other way.
        """
        root = self._layout.datastore(address.datastore)
        target = _inside(root, address.path)
        if target is None or (target == root and kind == "uri_file"):
            raise AmlocalError(f"{address.path!r} is no path inside datastore {address.datastore}")
        there = self.datastore(address)
        if there is not None and there != target:
            self.write(there, address)
        if target.is_dir() if kind == "uri_file" else target.is_file():
            raise AmlocalError(f"{target} is a {'folder' if kind == 'uri_file' else 'file'}, and the output a {kind}")
        (target.parent if kind == "uri_file" else target).mkdir(parents=True, exist_ok=True)
        return target

    def find_registered(self, asset: NewVersion) -> str | None:
        """Find the version of an asset that has the given content, the newest first.

        Args:
            asset: With a version, only that one is looked at.

        Returns:
            The version; ``None`` when there is none with this content.

        Raises:
            AmlocalError: The stated version exists and has other content.
        """
        with self._store() as store:
            if store is None:
                return None
            return _same(store, asset)

    def register(self, asset: NewVersion) -> str:
        """Register what lies in a datastore.

        Args:
            asset: What to register.

        Returns:
            Its version: the stated one, else the next free number.

        Raises:
            AmlocalError: The stated version exists and has other content, or a name is none.
        """
        for part in (asset.name, asset.version or "1"):
            if NAME.fullmatch(part) is None:
                raise AmlocalError(f"{part!r} is no name or version; expected letters, digits, '-', '_' and '.'")
        collection = "models" if asset.type in MODEL_TYPES else "data"
        self._layout.create()
        with contextlib.closing(Store(self._layout.database)) as store, store.transaction():
            if asset.version is not None and _same(store, asset) is not None:
                return asset.version
            if asset.version is not None and was_deleted(store, collection, asset.name, asset.version):
                raise AmlocalError(f"{asset.name}:{asset.version} was deleted; give another version, or none")
            versions = f"{collection}/{asset.name}/versions"
            if store.get(collection, asset.name) is None:
                shared = {"dataType": asset.type} if collection == "data" else {}
                store.put(collection, asset.name, {"properties": shared})
            version = asset.version or next_version(store, collection, asset.name)
            store.put(versions, version, {"properties": _properties(collection, asset)})
            return version

    def _path(
        self, collection: str, uri_key: str, type_key: str, usual: str, reference: AssetReference
    ) -> RegisteredPath | None:
        with self._store() as store:
            version = None if store is None else _version(store, collection, reference)
        if version is None:
            return None
        properties = version.body["properties"]
        uri = str(properties.get(uri_key))
        try:
            address = parse_address(uri)
        except AddressError:
            address = None
        path = self.datastore(address) if isinstance(address, DatastorePath) else None
        return RegisteredPath(path, properties.get(type_key) or usual, version.name, uri)

    def _define(self, folder: Path, name: str, definition: Json) -> Path:
        """Write a definition once, under a name that depends on what it says."""
        text = yaml.safe_dump(definition, sort_keys=False)
        path = folder / hashlib.sha256(text.encode()).hexdigest()[:32] / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text.encode())
        return path

    @contextlib.contextmanager
    def _store(self) -> Iterator[Store | None]:
        """Open the database; nothing where no workspace has been made yet."""
        if not self._layout.database.is_file():
            yield None
            return
        with contextlib.closing(Store(self._layout.database)) as store:
            yield store


def _version(store: Store, collection: str, reference: AssetReference) -> Resource | None:
    if reference.version is not None and reference.version != DEFAULT_VERSION:
        return store.get(f"{collection}/{reference.name}/versions", reference.version)
    if reference.label not in (None, "latest", "default"):
        return None
    return latest_version(store, collection, reference.name)


def _same(store: Store, asset: NewVersion) -> str | None:
    collection = "models" if asset.type in MODEL_TYPES else "data"
    versions = store.members(f"{collection}/{asset.name}/versions")
    for version in reversed(versions):
        properties = version.body["properties"].get("properties") or {}
        same = properties.get(CONTENT_PROPERTY) == asset.content
        if asset.version == version.name and not same:
            what = "model" if collection == "models" else "data asset"
            message = f"{what} {asset.name}:{asset.version} exists and has other content"
            raise AmlocalError(f"{message}; give another version, or none for the next free one")
        if same and asset.version in (None, version.name):
            return version.name
    return None


def _properties(collection: str, asset: NewVersion) -> Json:
    uri = f"azureml://datastores/{asset.address.datastore}/paths/{asset.address.path}"
    prefix = "model" if collection == "models" else "data"
    properties = {
        f"{prefix}Uri": uri,
        f"{prefix}Type": asset.type,
        "isAnonymous": False,
        "isArchived": False,
        "tags": {},
        "properties": {CONTENT_PROPERTY: asset.content, "amlocal.job": asset.job},
    }
    return {**properties, "jobName": asset.job} if collection == "models" else properties


def _inside(root: Path, path: str) -> Path | None:
    target = Path(os.path.normpath(root / path))
    return target if target == root or target.is_relative_to(root) else None


def _move_into_place(staging: Path, target: Path) -> None:
    """Rename a whole folder where there is none, else file by file, so that no reader sees half a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if staging.is_file() or not target.exists():
        staging.replace(target)
        return
    for folder, _, files in os.walk(staging):
        below = target / Path(folder).relative_to(staging)
        below.mkdir(exist_ok=True)
        for name in files:
            Path(folder, name).replace(below / name)
