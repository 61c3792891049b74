"""Entry point of a scoring process: Azure's own inference server on a socket inherited from the daemon.

Run as a file, not as a module: under an interpreter of its own, amlocal need not be installed. The socket is
handed over as systemd does, which gunicorn understands, so that the server neither picks a port nor listens
on all interfaces as it would by itself, and requests wait in the socket's queue while a process is started
again.
"""

import os
import runpy
import sys
from pathlib import Path

FIRST_ACTIVATED_FD = 3  # fixed by the protocol


def main(listener: int) -> None:
    """Serve until terminated.

    Args:
        listener: File descriptor of the listening socket.
    """
    here = Path(__file__).parent
    # This folder's modules must not hide modules that the scoring script imports.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here.resolve()]
    if listener != FIRST_ACTIVATED_FD:
        os.dup2(listener, FIRST_ACTIVATED_FD)
        os.close(listener)
    runpy.run_path(str(here / "parent_watch.py"))["end_with_parent"]()
    os.environ.update({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())})

    from azureml_inference_server_http import amlserver  # type: ignore[import-untyped]
    from gunicorn.config import KNOWN_SETTINGS  # type: ignore[import-untyped]

    # Where gunicorn has one, it would open a control socket in the home folder.
    if any("--no-control-socket" in (setting.cli or ()) for setting in KNOWN_SETTINGS):
        os.environ["GUNICORN_CMD_ARGS"] = f"{os.environ.get('GUNICORN_CMD_ARGS', '')} --no-control-socket".strip()

    script = os.environ["AZUREML_ENTRY_SCRIPT"]
    sys.argv = ["azmlinfsrv", "--entry_script", str(Path(os.environ["AML_APP_ROOT"], script))]
    amlserver.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
