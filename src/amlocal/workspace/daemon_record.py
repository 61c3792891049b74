"""``workspace.json``: what a workspace keeps between starts (key, ports) and which process serves it now."""

import dataclasses
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from amlocal.errors import AmlocalError
from amlocal.workspace import names
from amlocal.workspace.connection import WorkspaceConnection
from amlocal.workspace.layout import Layout, write_atomically

LISTENERS = ("https", "proxy", "scoring", "mlflow")


@dataclass(frozen=True)
class DaemonRecord:
    """Contents of ``workspace.json``.

    Attributes:
        key: The workspace's secret, made once.
        ports: Port per listener (``https``, ``proxy``, ``scoring``, ``mlflow``); empty before the first
            start.
        pid: Process id of the daemon, ``None`` when none was running at the last write.
        started: That process's start time in seconds since the epoch. A pid alone may have been given to
            another process since.
    """

    key: str = field(repr=False)
    ports: Mapping[str, int] = field(default_factory=dict)
    pid: int | None = None
    started: float | None = None

    def is_alive(self) -> bool:
        """Say whether the recorded process still runs; false after kill -9 and after a reboot."""
        if self.pid is None:
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() == self.started
        except psutil.Error:
            return False

    def connection(self, layout: Layout) -> WorkspaceConnection:
        """Build the connection of a running daemon."""
        return WorkspaceConnection(
            home=layout.home,
            subscription_id=names.SUBSCRIPTION_ID,
            resource_group=names.RESOURCE_GROUP,
            workspace_name=names.WORKSPACE_NAME,
            mlflow_tracking_uri=f"http://127.0.0.1:{self.ports['mlflow']}/mlflow",
            scoring_base_url=f"http://127.0.0.1:{self.ports['scoring']}",
            key=self.key,
            proxy_url=f"http://amlocal:{self.key}@127.0.0.1:{self.ports['proxy']}",
            ca_bundle=layout.ca_bundle,
        )


def read_record(layout: Layout) -> DaemonRecord | None:
    """Read ``workspace.json``.

    Returns:
        Its contents, or ``None`` where no workspace was ever started.

    Raises:
        AmlocalError: The file is not what this program wrote.
    """
    try:
        text = layout.connection_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return DaemonRecord(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise AmlocalError(
            f"{layout.connection_file}: not a workspace record ({error}); remove the file to get a new key"
        ) from error


def write_record(layout: Layout, record: DaemonRecord) -> None:
    """Write ``workspace.json`` atomically, readable by its owner only."""
    text = json.dumps(dataclasses.asdict(record), indent=2)
    write_atomically(layout.connection_file, text.encode(), mode=0o600)


def new_record() -> DaemonRecord:
    """Make the record of a workspace that has never been started, with a fresh key."""
    return DaemonRecord(key=secrets.token_urlsafe(32))
