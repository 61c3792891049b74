"""From an address in a job file to a path of this machine, or to a note that it is not on this machine."""

from __future__ import annotations

from pathlib import Path

from amlocal.reader.addresses import (
    Address,
    AddressError,
    AssetReference,
    DatastorePath,
    ForeignUri,
    LocalPath,
    RegistryReference,
    Url,
    parse_address,
)
from amlocal.reader.assets import RegisteredPath, mapped
from amlocal.reader.model import FILE_TYPES, MODEL_TYPES, PathBinding, UnresolvedBinding, UrlBinding
from amlocal.reader.section import Report
from amlocal.reader.source import Located, UnreadableError, plain, shown

_NOT_HERE = "not-on-this-machine"


def local_path(node: Located, text: str) -> Path:
    """Make a stated path absolute: it is relative to the file that states it."""
    return (node.place.file.parent / Path(text).expanduser()).resolve()


def read_data(
    node: Located, kind: str | None, what: str, report: Report
) -> tuple[str, PathBinding | UrlBinding | UnresolvedBinding]:
    """Read the ``path`` of an input.

    Args:
        node: the address.
        kind: the input's type as stated; None where it states none.
        what: the input, in words.
        report: whom to ask, and where what is not here is noted.

    Returns:
        The input's type and where its value is.

    Raises:
        UnreadableError: for an address of no known form, and an asset or URL that cannot be of the stated type.
    """
    text = str(plain(node))
    address = _address(node, text)
    path = _mapped(text, address, report)
    if path is not None:
        return kind or ("uri_file" if path.is_file() else "uri_folder"), PathBinding(path, node.place)
    if isinstance(address, LocalPath):
        return kind or "uri_folder", PathBinding(local_path(node, address.text), node.place)
    if isinstance(address, Url):
        if (kind or "uri_file") not in FILE_TYPES:
            message = f"{what} is a {kind} and {text} a single file; download it and give --map {text}=FOLDER"
            raise UnreadableError(node.place, "type", message)
        return kind or "uri_file", UrlBinding(text, node.place)
    if isinstance(address, AssetReference):
        if address.version is None and address.label is None:
            message = f"{what}: {address} names no version; give {address}:VERSION or {address}@latest"
            raise UnreadableError(node.place, "address", message)
        found = _asset(address, kind, report)
        if found is not None:
            if kind is not None and (kind in FILE_TYPES) != (found.type in FILE_TYPES):
                message = f"{what} is a {kind}, and {address} (version {found.version}) is a {found.type}"
                raise UnreadableError(node.place, "type", message)
            return kind or found.type, _registered(found, node, address, report)
    if isinstance(address, DatastorePath):
        stored = report.assets.datastore(address)
        if stored is not None:
            return kind or ("uri_file" if stored.is_file() else "uri_folder"), PathBinding(stored, node.place)
    report.unresolve(node.place, _NOT_HERE, _data_message(address, text, kind))
    return kind or "uri_folder", UnresolvedBinding(text, node.place)


def _registered(
    found: RegisteredPath, node: Located, address: AssetReference, report: Report
) -> PathBinding | UrlBinding | UnresolvedBinding:
    if found.path is not None:
        return PathBinding(found.path, node.place)
    path = _mapped(found.uri, None, report)
    if path is not None:
        return PathBinding(path, node.place)
    if found.type in FILE_TYPES and found.uri.startswith(("http:", "https:")):
        return UrlBinding(found.uri, node.place)
    hint = f"give --map {address}={'FILE' if found.type in FILE_TYPES else 'FOLDER'}"
    report.unresolve(node.place, _NOT_HERE, f"{address} is at {found.uri}, which is not on this machine; {hint}")
    return UnresolvedBinding(found.uri, node.place)


def component_file(node: Located, report: Report) -> Path | None:
    """Find the YAML file of a component; None when it is not on this machine, which the report then says.

    Raises:
        UnreadableError: for a local file that is missing, and an address of no known form.
    """
    return _definition(node, "component", report)


def environment_file(node: Located, report: Report) -> Path | None:
    """Find the YAML file of an environment that is registered here or mapped; None for every other name."""
    text = str(plain(node))
    address = _address(node, text)
    path = _mapped(text, address, report)
    if path is None and isinstance(address, AssetReference):
        path = report.assets.environment(address)
    return path


def code_path(node: Located, what: str, report: Report) -> Path | None:
    """Find a code folder or include; None when it is not on this machine, which the report then says.

    Raises:
        UnreadableError: for a local path that does not exist, and an address of no known form.
    """
    if not isinstance(node.value, str):
        raise UnreadableError(node.place, "type", f"{what} must be a path or address, found {plain(node)!r}")
    text = node.value
    address = _address(node, text)
    path = _mapped(text, address, report)
    if path is None and isinstance(address, LocalPath):
        path = local_path(node, address.text)
    if path is None and isinstance(address, AssetReference):
        path = report.assets.code(address)
    if path is None:
        message = f"{what} {text} is not on this machine; fetch it and give --map {text}=FOLDER"
        report.unresolve(node.place, _NOT_HERE, message)
        return None
    if not path.exists():
        raise UnreadableError(node.place, "missing-file", f"{what} {shown(path)} does not exist")
    return path


def _definition(node: Located, what: str, report: Report) -> Path | None:
    text = str(plain(node))
    address = _address(node, text)
    path = _mapped(text, address, report)
    if path is None and isinstance(address, LocalPath):
        path = local_path(node, address.text)
    if path is None and isinstance(address, AssetReference):
        path = report.assets.component(address)
    if path is None:
        hint = f"give --map {text}=FILE"
        if isinstance(address, AssetReference):
            message = f"{what} {address} is not registered in this workspace; register it with: amlocal {what} create "
            message += f"--file FILE, or {hint}"
        else:
            message = f"{what} {text} is not on this machine; {hint}"
        report.unresolve(node.place, _NOT_HERE, message)
        return None
    if not path.is_file():
        raise UnreadableError(node.place, "missing-file", f"{what} file {shown(path)} does not exist")
    return path


def _address(node: Located, text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise UnreadableError(node.place, "address", str(error)) from None


def _mapped(text: str, address: Address | None, report: Report) -> Path | None:
    if isinstance(address, LocalPath):
        return None
    found = mapped(text, report.mappings)
    if found is None:
        return None
    path, mapping = found
    report.used_mappings.add(mapping.uri)
    return path


def _asset(reference: AssetReference, kind: str | None, report: Report) -> RegisteredPath | None:
    if kind in MODEL_TYPES or reference.kind == "models":
        return report.assets.model(reference)
    found = report.assets.data(reference)
    return report.assets.model(reference) if found is None and kind is None else found


def _data_message(address: Address, text: str, kind: str | None) -> str:
    stand_in = "FILE" if kind in FILE_TYPES else "FOLDER"
    hint = f"give --map {text}={stand_in}"
    if isinstance(address, AssetReference):
        what = "model" if kind in MODEL_TYPES or address.kind == "models" else "data"
        noun = "model" if what == "model" else "data asset"
        return (
            f"{noun} {address} is not registered in this workspace; register it with: "
            f"amlocal {what} create --file FILE, or {hint}"
        )
    if isinstance(address, DatastorePath):
        folder = f"datastores/{address.datastore}"
        return f"{text}: the local workspace has nothing there; put it into its folder {folder}, or {hint}"
    if isinstance(address, RegistryReference):
        return f"{text}: registries are not on this machine; {hint}"
    if isinstance(address, ForeignUri):
        return f"{text}: {address.scheme} addresses are not on this machine; {hint}"
    return f"{text} is not on this machine; {hint}"
