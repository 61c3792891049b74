"""Where the workspace keeps its state under the user's ``--home``, and how files there are written."""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from amlocal.workspace import names

# Linux allows 107 bytes for the path of a Unix socket, macOS 103; the rest is for the file's own name.
SOCKET_FOLDER_LIMIT = 90


@dataclass(frozen=True)
class Layout:
    """Paths of one workspace.

    Attributes:
        home: The folder given by ``--home``, absolute.
    """

    home: Path

    @property
    def root(self) -> Path:
        """Folder of everything the workspace stores."""
        return self.home / "workspace"

    @property
    def connection_file(self) -> Path:
        """``workspace.json``: key, ports and process of the daemon; readable by its owner only."""
        return self.root / "workspace.json"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts or stops the daemon."""
        return self.root / "start.lock"

    @property
    def daemon_lock(self) -> Path:
        """Held by the daemon as long as it lives; the system releases it even after kill -9."""
        return self.root / "daemon.lock"

    @property
    def log_file(self) -> Path:
        """The daemon's one log file."""
        return self.root / "daemon.log"

    @property
    def tls(self) -> Path:
        """Certificates."""
        return self.root / "tls"

    @property
    def ca_bundle(self) -> Path:
        """Certificate authorities that clients of the workspace trust: the usual ones and its own."""
        return self.tls / "ca-bundle.pem"

    @property
    def database(self) -> Path:
        """The resource store."""
        return self.root / "store.db"

    @property
    def blobs(self) -> Path:
        """Contents of blobs."""
        return self.root / "blobs"

    @property
    def datastores(self) -> Path:
        """One folder per datastore: what jobs write there, and what users put there."""
        return self.home / "datastores"

    @property
    def run_artifacts(self) -> Path:
        """Artefacts of MLflow's runs: ``<experiment>/<run>/artifacts/…``."""
        return self.mlflow / "artifacts"

    def datastore(self, name: str) -> Path:
        """Find a datastore's folder.

        Args:
            name: The datastore.
        """
        return self.run_artifacts if name == names.ARTIFACT_DATASTORE else self.datastores / name

    @property
    def folders(self) -> Path:
        """Uploads of data, models and code, as files and folders for jobs to read."""
        return self.root / "folders"

    @property
    def components(self) -> Path:
        """Registered components as YAML files."""
        return self.root / "components"

    @property
    def environments(self) -> Path:
        """Registered environments as YAML files."""
        return self.root / "environments"

    @property
    def models(self) -> Path:
        """Registered models as folders, one per version, shared by all deployments."""
        return self.root / "models"

    @property
    def deployments(self) -> Path:
        """Code and logs of deployments."""
        return self.root / "deployments"

    @property
    def job_documents(self) -> Path:
        """The YAML of jobs that clients submitted."""
        return self.root / "jobs"

    @property
    def run_logs(self) -> Path:
        """What pipelines and sweeps did, as text."""
        return self.root / "run-logs"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts."""
        return self.root / "mlflow"

    def socket_folder(self) -> Path:
        """Make the folder for Unix sockets, which only this user can enter.

        Returns:
            A folder below the root or, as paths of sockets must be short, one in the system's temporary
            folder.

        Raises:
            PermissionError: The temporary folder's entry belongs to somebody else.
        """
        folder = self.root / "run"
        if len(os.fsencode(folder)) > SOCKET_FOLDER_LIMIT:
            digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
            folder = Path(tempfile.gettempdir(), f"amlocal-{os.getuid()}-{digest}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a folder that only this user can enter")
        return folder

    def create(self) -> None:
        """Create the folders; the root is closed to other users because it holds keys."""
        make_home(self.home)
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        for folder in (
            self.tls,
            self.blobs,
            self.models,
            self.deployments,
            self.job_documents,
            self.run_logs,
            self.mlflow,
        ):
            folder.mkdir(exist_ok=True)


def make_home(home: Path) -> None:
    """Create a home that is not there yet, with a ``.gitignore`` that keeps it, and its keys, out of repositories.

    A folder that exists is somebody's own and is left as it is.
    """
    if not home.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / ".gitignore").write_text("*\n", encoding="utf-8")


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a crash, sees the old contents or the new ones and nothing between.

    Args:
        path: File to replace; its folder must exist.
        data: New contents.
        mode: Permission bits of the new file.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
