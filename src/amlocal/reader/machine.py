"""What describes the machines of a cluster: passed over here, but not unread."""

from __future__ import annotations

import re

from amlocal.reader.expressions import has_expression
from amlocal.reader.model import Setting
from amlocal.reader.section import Section
from amlocal.reader.settings import read_setting
from amlocal.reader.source import Located, UnreadableError

_RESOURCES = ("instance_type", "shm_size", "docker_args", "properties", "locations", "max_instance_count")
_MEMORY = re.compile(r"\d+(\.\d+)?\s*[bkmgt]?i?b?", re.IGNORECASE)  # as Docker reads it
_IDENTITIES = ("managed", "managed_identity", "aml_token", "user_identity")
_SERVICE_KEYS = ("port", "nodes", "properties", "log_dir", "ssh_public_keys", "endpoint", "status", "error_message")


def read_machine(section: Section) -> Setting | None:
    """Pass over compute, identity, services and queue; what is misspelt in them is an error all the same.

    Returns:
        ``resources.instance_count``, the only one that may mean something here.

    Raises:
        UnreadableError: for an identity that does not exist.
    """
    section.ignore("compute", "priority")
    _identity(section)
    _services(section)
    queue = _ignored(section, "queue_settings")
    if queue is not None:
        queue.skip("job_tier", "priority")
        queue.finish()
    return read_resources(section)


def read_resources(section: Section) -> Setting | None:
    """Read ``resources``; give ``instance_count``, when stated."""
    resources = section.section("resources")
    size = resources.look("shm_size")
    text = "" if size is None or size.value is None else str(size.value)
    if size is not None and text and not has_expression(text) and not _MEMORY.fullmatch(text):
        message = f"shm_size {size.value!r}: expected a number and b, k, m or g, as in 2g"
        section.report.problem(size.place, "type", message)
    resources.ignore(*_RESOURCES, prefix="resources ")
    count = read_setting(resources, "instance_count", 1)
    resources.finish()
    return count


def _ignored(section: Section, key: str) -> Section | None:
    node = section.take(key)
    if node is None:
        return None
    section.report.ignore(key, node.place)
    return Section(node, key, section.report)


def _identity(section: Section) -> None:
    identity = _ignored(section, "identity")
    if identity is None:
        return
    kind = identity.require("type")
    # azure-ai-ml takes AMLToken, UserIdentity … as well.
    known = {name.replace("_", "") for name in _IDENTITIES}
    if str(kind.value).replace("_", "").lower() not in known:
        message = f"identity type must be one of {', '.join(_IDENTITIES)}, found {kind.value!r}"
        raise UnreadableError(kind.place, "type", message)
    identity.skip("client_id", "object_id", "msi_resource_id")
    identity.finish()


def _services(section: Section) -> None:
    node = section.take("services")
    if node is None:
        return
    section.report.ignore("services", node.place)
    stated = Located({"services": node}, node.place)
    for name, service in Section(stated, section.what, section.report).entries("services").items():
        inner = Section(service, f"service {name!r}", section.report)
        inner.skip("type", "job_service_type", *_SERVICE_KEYS)
        inner.finish()
