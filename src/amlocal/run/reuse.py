"""Results of finished steps, by fingerprint.

A result is a small file that points to the outputs in the job that made them, written when they are complete.
It counts only while those outputs still have the content they had then.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amlocal.run.digest import DigestCache
from amlocal.run.files import write_atomically
from amlocal.run.fingerprint import Fingerprint, LastRun, from_dict


@dataclass(frozen=True)
class Output:
    """An output that was written.

    Attributes:
        path: the file or folder.
        digest: of its content.
    """

    path: Path
    digest: str


@dataclass(frozen=True)
class Result:
    """What a finished step left.

    Attributes:
        job: the job that ran it.
        seconds: how long that took.
        extra: what else its record shows, for a sweep its trials.
        resumed: the mounted outputs that held something when it began, on which it may have gone on.
    """

    job: str
    outputs: Mapping[str, Output]
    seconds: float
    run_id: str | None
    extra: Mapping[str, Any]
    resumed: tuple[str, ...] = ()


class ResultCache:
    """Results under ``cache/results``, and what each step was when it last ran under ``cache/history``."""

    def __init__(self, home: Path, digests: DigestCache) -> None:
        self._home = home
        self._folder = home / "cache"
        self._digests = digests

    def find(self, fingerprint: Fingerprint) -> Result | None:
        """Look a result up; None when there is none or its outputs are gone or changed."""
        data = _read(self._folder / "results" / f"{fingerprint.key}.json")
        if data is None:
            return None
        outputs: dict[str, Output] = {}
        for name, stored in data["outputs"].items():
            path = Path(os.path.normpath(self._home / stored["path"]))
            try:
                if not path.exists() or self._digests.tree(path) != stored["digest"]:
                    return None
            except OSError:
                return None
            outputs[name] = Output(path, stored["digest"])
        return Result(
            data["job"], outputs, data["seconds"], data["run_id"], data["extra"], tuple(data.get("resumed", ()))
        )

    def store(self, fingerprint: Fingerprint, result: Result) -> None:
        """Keep the result of a finished step."""
        data = {
            "job": result.job,
            "outputs": {
                name: {"path": os.path.relpath(output.path, self._home), "digest": output.digest}
                for name, output in result.outputs.items()
            },
            "seconds": result.seconds,
            "run_id": result.run_id,
            "extra": dict(result.extra),
            "resumed": list(result.resumed),
        }
        write_atomically(self._folder / "results" / f"{fingerprint.key}.json", json.dumps(data, indent=1))

    def last(self, identity: str) -> LastRun | None:
        """Give a step's last run.

        Args:
            identity: tells the step from all others, across jobs.
        """
        data = _read(self._history(identity))
        if data is None:
            return None
        failed = bool(data.pop("failed", False))
        fingerprint = from_dict(data)
        return None if fingerprint is None else LastRun(fingerprint, failed)

    def remember(self, identity: str, run: LastRun) -> None:
        """Note what a step is now, or that it failed."""
        data = {**asdict(run.fingerprint), "failed": run.failed}
        write_atomically(self._history(identity), json.dumps(data))

    def _history(self, identity: str) -> Path:
        return self._folder / "history" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return data
