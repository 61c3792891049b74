"""A workspace's blobs, and the files and folders that a job reads them as."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from amlocal.workspace import names
from amlocal.workspace.blobs import Blob, BlobStore, FilesByName
from amlocal.workspace.layout import Layout
from amlocal.workspace.store import Store


def open_blobs(store: Store, layout: Layout, read_only: Mapping[str, FilesByName] | None = None) -> BlobStore:
    """Open a workspace's blobs: what clients uploaded, the files in its default datastore's folder, and artefacts.

    Artefacts are MLflow's own files, so that whoever logs or reads them by either way finds the same.

    Args:
        store: The workspace's database.
        layout: Its paths.
        read_only: Further blobs, by their container.
    """
    datastores = {
        names.DEFAULT_CONTAINER: layout.datastore(names.DEFAULT_DATASTORE),
        names.ARTIFACT_CONTAINER: layout.datastore(names.ARTIFACT_DATASTORE),
    }
    return BlobStore(store.connection, layout.blobs, datastores, [names.ARTIFACT_CONTAINER], read_only)


def blobs_below(blobs: BlobStore, container: str, prefix: str) -> list[Blob]:
    """Find a blob by its name, or all that lie in it as in a folder.

    Args:
        blobs: Where they are.
        container: Their container.
        prefix: The name, without a slash at its end; empty for all.
    """
    return [
        blob
        for blob in blobs.find(container, prefix)
        if not prefix or blob.name == prefix or blob.name.startswith(f"{prefix}/")
    ]


def as_path(found: list[Blob], prefix: str, folders: Path) -> Path:
    """Give blobs as a file or folder that shares their contents, made once per content and read-only.

    Args:
        found: One blob of the name ``prefix``, or all below it.
        prefix: Their common beginning, whose last part names the result.
        folders: Where such folders are kept.

    Returns:
        The file or folder.
    """
    from amlocal.workspace.folders import build_folder  # brings the web framework along

    lines = "".join(f"{blob.name}\n{blob.content}\n{blob.etag}\n" for blob in found)
    parent = PurePosixPath(prefix).parent
    files = {str(PurePosixPath(blob.name).relative_to(parent)): blob.content for blob in found}
    folder = build_folder(folders / hashlib.sha256(lines.encode()).hexdigest()[:32], files, link=True)
    return folder / (PurePosixPath(prefix).name or ".")
