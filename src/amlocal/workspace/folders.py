"""Blobs as folders, for processes that read files."""

import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from amlocal.workspace.blob_files import blobs_below
from amlocal.workspace.blobs import Blob, BlobStore
from amlocal.workspace.datastores import locate
from amlocal.workspace.errors import bad_request


def model_files(blobs: BlobStore, uri: str) -> dict[str, Path]:
    """Find a registered model's files; they keep the name of the folder or file that was uploaded, as on Azure.

    Args:
        blobs: Where they are.
        uri: The model's ``azureml://`` address.

    Returns:
        Contents by relative name.

    Raises:
        ArmError: There are no files at the address.
    """
    found, prefix = _blobs_at(blobs, uri)
    parent = PurePosixPath(prefix).parent
    return {str(PurePosixPath(blob.name).relative_to(parent)): blob.content for blob in found}


def code_files(blobs: BlobStore, uri: str) -> dict[str, Path]:
    """Find the files of a code snapshot.

    Args:
        blobs: Where they are.
        uri: The snapshot's ``https://`` address.

    Returns:
        Contents by relative name.

    Raises:
        ArmError: There are no files at the address.
    """
    found, prefix = _blobs_at(blobs, uri)
    start = f"{prefix}/" if prefix else ""
    return {blob.name.removeprefix(start): blob.content for blob in found}


def build_folder(folder: Path, files: Mapping[str, Path], *, link: bool) -> Path:
    """Build a folder of blobs' contents aside and rename it into place, so that it is never seen half-made.

    Args:
        folder: Where it is to be; left alone when it exists.
        files: Contents by relative name.
        link: Whether files are hard links to the read-only contents, which costs no disk, or copies, which
            may be written to.

    Returns:
        The folder.

    Raises:
        ArmError: A name leads out of the folder.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for name, content in files.items():
            target = _inside(aside, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if link:
                _link(content, target)
            else:
                shutil.copyfile(content, target)
        aside.replace(folder)
    except OSError:
        if not folder.exists():  # else somebody else has just built it
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _blobs_at(blobs: BlobStore, uri: str) -> tuple[list[Blob], str]:
    container, prefix = locate(uri)
    found = blobs_below(blobs, container, prefix)
    if not found:
        raise bad_request(f"There are no files at {uri}.")
    return found, prefix


def _inside(folder: Path, name: str) -> Path:
    """Join, refusing names that lead out of the folder."""
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder) or target == folder:
        raise bad_request(f"The file name {name!r} leads out of its folder.")
    return target


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
        target.chmod(0o444)
