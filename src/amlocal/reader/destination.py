"""Where an output is to go besides the job's own folder: a path in a datastore, a registered asset."""

from __future__ import annotations

import re

from amlocal.reader.addresses import DEFAULT_DATASTORE, AddressError, DatastorePath, parse_address
from amlocal.reader.expressions import Kind, Reference, Template, render
from amlocal.reader.model import Destination
from amlocal.reader.section import Section, template
from amlocal.reader.source import Located, UnreadableError, plain

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def read_destination(section: Section, kind: str | None) -> tuple[Template | None, Destination | None]:
    """Read an output's ``path``, ``name`` and ``version``.

    Args:
        section: the output.
        kind: its type as stated; None where it states none.

    Returns:
        The pipeline output that it is, if its path says so, and where else it goes.

    Raises:
        UnreadableError: for a name that is none, and a version without a name.
    """
    target, path = _path(section)
    name, version = (_named(section, key) for key in ("name", "version"))
    if version is not None and name is None:
        raise UnreadableError(section.place, "required", f"{section.what} has a version and no 'name'")
    if path is None and name is None:
        return target, None
    return target, Destination(section.place, kind, path, name, version)


def resolve_path(path: Template, run: str, output: str, datastore: str) -> DatastorePath | None:
    """Fill in an output's path.

    Args:
        path: an address with ``${{name}}``, ``${{output_name}}`` and ``${{default_datastore}}`` in it.
        run: what ``${{name}}`` is.
        output: what ``${{output_name}}`` is.
        datastore: what ``${{default_datastore}}`` is.

    Returns:
        Where the output goes; None when the path is nowhere in a datastore.

    Raises:
        AddressError: for an ``azureml:`` text of no known form.
    """
    values = {"name": run, "output_name": output, "default_datastore": datastore}

    def lookup(reference: Reference) -> str | None:
        return values.get(reference.name) if reference.kind is Kind.MACRO else None

    try:
        address = parse_address(render(path, lookup))
    except LookupError:  # refers to something else, which has no value here
        return None
    return address if isinstance(address, DatastorePath) else None


def _path(section: Section) -> tuple[Template | None, Template | None]:
    node = section.take("path")
    if node is None:
        return None, None
    path = template(node, str(plain(node)))
    if path.reference is not None:
        return path, None
    try:
        address = resolve_path(path, "name", "output", DEFAULT_DATASTORE)
    except AddressError as error:
        raise UnreadableError(node.place, "address", str(error)) from None
    if address is None:
        section.report.ignore(f"outputs path {path.text}", node.place)
        return None, None
    return None, path


def _named(section: Section, key: str) -> str | None:
    node: Located | None = section.take(key)
    if node is None:
        return None
    text = str(plain(node))
    if _NAME.fullmatch(text) is None:
        message = f"{section.what}: {key} {text!r} is none; expected letters, digits, '-', '_' and '.'"
        raise UnreadableError(node.place, "name", message)
    return text
