"""Runs workflows as GitHub does: their own `run:` blocks in bash, the few actions of others by their effect."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from github.expressions import Scope, evaluate_condition, interpolate
from github.files import ROOT, load
from github.gh import GitHub
from github.oidc import Provider

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

JOB_KEYS = {
    *("name", "runs-on", "needs", "if", "permissions", "environment", "concurrency", "timeout-minutes", "env"),
    *("outputs", "steps"),
}
STEP_SECONDS = 580.0
STEP_KEYS = {"id", "name", "if", "uses", "with", "run", "shell", "env"}


class RunnerError(Exception):
    """A workflow that this runner cannot run as GitHub would."""


@dataclass
class StepResult:
    """What became of a step.

    Attributes:
        name: Its place, as `files.steps` gives it.
        outcome: "success", "failure", "cancelled" or "skipped".
        log: What it printed.
        outputs: What it wrote to GITHUB_OUTPUT.
    """

    name: str
    outcome: str
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass
class JobResult:
    """What became of a job: its result, its page, its outputs and steps."""

    result: str = "skipped"
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)


@dataclass
class Run:
    """A run of a workflow."""

    id: str
    jobs: dict[str, JobResult] = field(default_factory=dict)

    @property
    def conclusion(self) -> str:
        """Whether the run is red, green or grey."""
        results = {job.result for job in self.jobs.values()}
        return next((name for name in ("failure", "cancelled") if name in results), "success")

    @property
    def log(self) -> str:
        """What all steps printed, for a failed test's message."""
        return "\n".join(
            f"--- {step.name}: {step.outcome}\n{step.log}" for job in self.jobs.values() for step in job.steps
        )


@dataclass(frozen=True)
class Cancellation:
    """Somebody cancels the run on GitHub.

    Attributes:
        step: During which step, by its name.
        when: Asked until it says yes.
    """

    step: str
    when: Callable[[], bool]


@dataclass(frozen=True)
class Event:
    """Why a workflow runs."""

    name: str
    payload: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    ref: str = "refs/heads/main"
    sha: str = "c0ffee" * 6 + "c0ff"


@dataclass
class Runner:
    """A repository on GitHub with runners for its jobs.

    Attributes:
        folder: Where jobs work.
        repository: Working copy that a checkout copies.
        github: What gh sees.
        provider: Who gives jobs their OIDC assertions.
        variables: `vars` of the repository.
        environment: More environment for all steps, such as how to reach stand-ins.
        bin: First folder on PATH.
        client: Azure's client of the workspace, to look what is there.
        approve: Asked before a job of a protected environment begins, with the run as a reviewer sees it.
        performed: Names of all steps that were run, over all runs.
        cancellation: Of the next run, if any.
    """

    folder: Path
    repository: Path
    github: GitHub
    provider: Provider
    variables: dict[str, str]
    environment: dict[str, str]
    bin: Path
    client: "MLClient"
    approve: Callable[[str, Run], bool]
    performed: set[str] = field(default_factory=set)
    cancellation: Cancellation | None = None
    run_ids: Iterator[int] = field(default_factory=lambda: itertools.count(1001))

    def run(self, workflow: str, event: Event) -> Run:
        """Run a workflow to its end."""
        path = ROOT / ".github" / "workflows" / f"{workflow}.yml"
        value = load(path)
        if event.name not in value["on"]:
            raise RunnerError(f"{path}: does not run on {event.name}")
        declared = (value["on"]["workflow_dispatch"] or {}).get("inputs", {}) if event.inputs else {}
        if set(event.inputs) - set(declared):
            raise RunnerError(f"{path}: inputs {sorted(event.inputs)} are not declared")
        run = Run(str(next(self.run_ids)))
        self.github.runs[run.id] = {
            "path": f".github/workflows/{path.name}",
            "head_branch": event.ref.removeprefix("refs/heads/"),
            "head_repository": {"full_name": self.github.repository},
        }
        for name, job in value["jobs"].items():
            if unknown := set(job) - JOB_KEYS:
                raise RunnerError(f"{path}: job {name}: {sorted(unknown)}")
            run.jobs[name] = JobResult()
            _Job(self, run, event, workflow, name, job).execute()
        return run


@dataclass
class _Job:
    runner: Runner
    run: Run
    event: Event
    workflow: str
    name: str
    job: dict[str, Any]

    def execute(self) -> None:
        result = self.run.jobs[self.name]
        needs = self.job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        needed = {name: self.run.jobs[name] for name in needs}
        status = "success" if all(job.result == "success" for job in needed.values()) else "failure"
        self.contexts: dict[str, Any] = {
            "github": {
                "event_name": self.event.name,
                "event": self.event.payload,
                "repository": self.runner.github.repository,
                "ref": self.event.ref,
                "sha": self.event.sha,
                "run_id": self.run.id,
                "run_attempt": "1",
            },
            "inputs": self.event.inputs,
            "vars": self.runner.variables,
            "needs": {name: {"result": job.result, "outputs": job.outputs} for name, job in needed.items()},
        }
        if not evaluate_condition(self.job.get("if"), Scope(self.contexts, status)):
            return
        if "environment" in self.job and not self.runner.approve(self.job["environment"], self.run):
            result.result = "failure"
            return
        self._start()
        steps = _Steps(self, f"{self.workflow}/{self.name}", self.job["steps"], self.contexts, self.environment)
        result.result = steps.execute()
        outputs = self.job.get("outputs", {})
        scope = Scope(steps.contexts)
        result.outputs = {name: interpolate(text, scope) for name, text in outputs.items()}
        result.summary = self.summary.read_text()

    def _start(self) -> None:
        # GitHub's machines come with a Python that has no packages.
        python = self.runner.bin / "python3"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
        python.chmod(0o755)
        token = uuid.uuid4().hex
        permissions = self.job["permissions"]
        self.runner.github.tokens[token] = permissions
        self.contexts["github"]["token"] = token
        self.home = self.runner.folder / self.run.id / self.name
        self.workspace = self.home / "workspace"
        self.workspace.mkdir(parents=True)
        self.summary = self.home / "summary.md"
        self.summary.touch()
        self.environment = {
            "PATH": f"{self.runner.bin}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": self.runner.github.repository,
            "GITHUB_REF": self.event.ref,
            "GITHUB_SHA": self.event.sha,
            "GITHUB_RUN_ID": self.run.id,
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            **self.runner.environment,
        }
        if permissions.get("id-token") == "write":
            request = uuid.uuid4().hex
            context = f"environment:{self.job['environment']}" if "environment" in self.job else f"ref:{self.event.ref}"
            context = "pull_request" if self.event.name == "pull_request" else context
            self.runner.provider.subjects[request] = f"repo:{self.runner.github.repository}:{context}"
            self.environment |= {
                "ACTIONS_ID_TOKEN_REQUEST_URL": self.runner.provider.address,
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": request,
            }
        scope = Scope(self.contexts)
        self.environment |= {name: interpolate(str(text), scope) for name, text in self.job.get("env", {}).items()}


class _Steps:
    """The steps of a job, or of a composite action within one."""

    def __init__(
        self,
        job: _Job,
        name: str,
        steps: list[dict[str, Any]],
        contexts: Mapping[str, Any],
        environment: dict[str, str],
    ) -> None:
        self._job, self._name, self._steps, self._environment = job, name, steps, environment
        self.contexts: dict[str, Any] = {**contexts, "steps": {}}

    def execute(self) -> str:
        status = "success"
        for number, step in enumerate(self._steps, start=1):
            if unknown := set(step) - STEP_KEYS:
                raise RunnerError(f"{self._name}/{number}: {sorted(unknown)}")
            result = StepResult(f"{self._name}/{number}", "skipped")
            self._job.run.jobs[self._job.name].steps.append(result)
            if evaluate_condition(step.get("if"), Scope(self.contexts, status)):
                self._job.runner.performed.add(result.name)
                result.outcome = self._execute(step, result)
                if result.outcome in ("failure", "cancelled"):
                    status = result.outcome
            if "id" in step:
                outputs = result.outputs if result.outcome == "success" else _Unfinished(result.outputs)
                self.contexts["steps"][step["id"]] = {"outcome": result.outcome, "outputs": outputs}
        return status

    def _execute(self, step: dict[str, Any], result: StepResult) -> str:
        scope = Scope(self.contexts)
        own = {name: interpolate(str(text), scope) for name, text in step.get("env", {}).items()}
        if "run" in step:
            return self._bash(step, {**self._environment, **own}, result)
        given = {name: interpolate(str(text), scope) for name, text in step.get("with", {}).items()}
        if step["uses"].startswith("$/"):
            return self._composite(step["uses"].removeprefix("$/"), given)
        action = step["uses"].partition("@")[0]
        if action not in ACTIONS:
            raise RunnerError(f"{self._name}: {action} is not known here")
        problem = ACTIONS[action](self._job, given)
        result.log = problem or ""
        if action == "actions/upload-artifact" and not problem:
            page = f"https://github.com/{self._job.runner.github.repository}/actions/runs/{self._job.run.id}"
            result.outputs["artifact-url"] = f"{page}/artifacts/1"
        return "failure" if problem else "success"

    def _bash(self, step: dict[str, Any], environment: dict[str, str], result: StepResult) -> str:
        script, outputs = self._job.home / "step.sh", self._job.home / "outputs"
        script.write_text(step["run"])
        outputs.write_text("")
        shell = (
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"] if step.get("shell") == "bash" else ["bash", "-e"]
        )
        log = self._job.home / "step.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [*shell, str(script)],
                cwd=self._job.workspace,
                env={**environment, "GITHUB_OUTPUT": str(outputs)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            cancelled = self._wait(process, result.name)
        result.log = log.read_text()
        result.outputs = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
        return "cancelled" if cancelled else "success" if process.returncode == 0 else "failure"

    def _wait(self, process: subprocess.Popen[bytes], name: str) -> bool:
        """Wait for a step; return whether it was cancelled, which GitHub does with a signal to its processes."""
        cancellation = self._job.runner.cancellation
        if cancellation is not None and cancellation.step == name:
            until = time.monotonic() + STEP_SECONDS
            while process.poll() is None and time.monotonic() < until:
                if cancellation.when():
                    self._job.runner.cancellation = None
                    os.killpg(process.pid, signal.SIGINT)
                    process.wait(30)
                    return True
                time.sleep(0.2)
        try:
            process.wait(STEP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return False

    def _composite(self, folder: str, given: dict[str, str]) -> str:
        action = load(ROOT / folder / "action.yml")
        declared = action.get("inputs", {})
        missing = {name for name, said in declared.items() if said.get("required")} - set(given)
        if set(given) - set(declared) or missing:
            raise RunnerError(f"{folder}: inputs {sorted(given)} are not those of the action")
        inputs = {name: given.get(name, said.get("default", "")) for name, said in declared.items()}
        contexts = {**self.contexts, "inputs": inputs}
        name = f"action/{Path(folder).name}"
        return _Steps(self._job, name, action["runs"]["steps"], contexts, self._environment).execute()


class _Unfinished(dict):
    """Outputs of a step that was skipped or failed: those that it did not come to are empty."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return ""


def _checkout(job: _Job, given: dict[str, str]) -> str | None:
    if job.job["permissions"].get("contents") != "read":
        return "fatal: could not read Username: the token cannot read the repository"
    if given != {"persist-credentials": "False"}:
        raise RunnerError(f"checkout with {given}")
    shutil.copytree(job.runner.repository, job.workspace, dirs_exist_ok=True)
    return None


def _setup_python(job: _Job, given: dict[str, str]) -> str | None:
    if given != {"python-version": f"{sys.version_info.major}.{sys.version_info.minor}"}:
        raise RunnerError(f"setup-python with {given}")
    job.environment["PATH"] = f"{Path(sys.executable).parent}:{job.environment['PATH']}"
    return None


def _upload(job: _Job, given: dict[str, str]) -> str | None:
    target = job.runner.folder / job.run.id / "artifacts" / given["name"]
    key = (job.run.id, given["name"])
    if key in job.runner.github.artifacts:
        return "an artifact with this name already exists"
    paths = [job.workspace / line.strip() for line in given["path"].splitlines() if line.strip()]
    found = [path for path in paths if path.exists()]
    hidden = any(part.startswith(".") for path in found for part in path.relative_to(job.workspace).parts)
    if not found or (hidden and given.get("include-hidden-files") != "True"):
        return "No files were found with the provided path" if given["if-no-files-found"] == "error" else None
    target.mkdir(parents=True)
    # Files lie in the artifact below the deepest folder that all paths share; a folder's own name is not kept.
    common = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in found]))
    for path in found:
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, target / path.relative_to(common))
    job.runner.github.artifacts[key] = target
    return None


def _download(job: _Job, given: dict[str, str]) -> str | None:
    key = (job.run.id, given["name"])
    if key not in job.runner.github.artifacts:
        return f"Artifact not found for name: {given['name']}"
    shutil.copytree(job.runner.github.artifacts[key], job.workspace / given["path"], dirs_exist_ok=True)
    return None


ACTIONS: Mapping[str, Callable[[_Job, dict[str, str]], str | None]] = {
    "actions/checkout": _checkout,
    "actions/setup-python": _setup_python,
    "actions/upload-artifact": _upload,
    "actions/download-artifact": _download,
}
"""What actions of others do, as far as these workflows need it; they return an error's message, or None."""
