"""What holds for every workflow and composite action, whatever it does."""

import re
from pathlib import Path

import pytest
import yaml
from github.files import ACTIONS, ROOT, WORKFLOWS, jobs, load, steps

PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$")
FILES = [*WORKFLOWS, *ACTIONS]
IDS = [f"{path.parent.name}/{path.name}" for path in FILES]


def test_the_five_workflows_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "train", "promote", "rollback", "infra"}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_every_action_of_others_is_pinned_by_a_commit_and_says_its_version(path: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert [line for line in lines if not line.startswith("uses: $/") and not PINNED.fullmatch(line)] == []
    own = [line.removeprefix("uses: $/") for line in lines if line.startswith("uses: $/")]
    assert [name for name in own if not (ROOT / name / "action.yml").is_file()] == []


def test_one_action_has_one_version_in_all_files() -> None:
    pins: dict[str, set[str]] = {}
    for path in FILES:
        for name, commit in re.findall(r"uses: ([\w./-]+)@(\S+)", path.read_text()):
            pins.setdefault(name, set()).add(commit)
    assert {name: commits for name, commits in pins.items() if len(commits) > 1} == {}


ALLOWED = {
    "ci/lint": {"contents": "read"},
    "ci/test": {"contents": "read"},
    "ci/pipeline": {"contents": "read"},
    "ci/comment": {"pull-requests": "write"},
    "train/train": {"contents": "read", "id-token": "write"},
    "train/comment": {"contents": "read", "pull-requests": "write"},
    "train/promote": {"actions": "write"},
    "promote/report": {"actions": "read", "contents": "read"},
    "promote/deploy": {"contents": "read", "id-token": "write"},
    "rollback/report": {"actions": "read", "contents": "read", "id-token": "write"},
    "rollback/deploy": {"contents": "read", "id-token": "write"},
    "infra/apply": {"contents": "read", "id-token": "write"},
}
"""What each job may do; one that asks for more has to be written down here, too."""


def test_no_job_may_do_more_than_it_is_known_to_need() -> None:
    assert {path.stem: load(path)["permissions"] for path in WORKFLOWS} == {path.stem: {} for path in WORKFLOWS}
    asked = {f"{path.stem}/{name}": job.get("permissions") for path in WORKFLOWS for name, job in jobs(path).items()}
    assert asked == ALLOWED


def test_a_job_that_may_write_runs_nothing_of_a_pull_request() -> None:
    (ci,) = [path for path in WORKFLOWS if path.stem == "ci"]
    assert set(load(ci)["on"]) == {"pull_request"}
    for name, job in jobs(ci).items():
        if "write" in job["permissions"].values():
            assert not [step for step in job["steps"] if "checkout" in step.get("uses", "")], name
    for path in WORKFLOWS:
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(load(path)["on"]), path


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_no_expression_is_put_into_a_shell(path: Path) -> None:
    blocks = {name: step["run"] for name, step in steps(path) if "run" in step}
    assert [name for name, block in blocks.items() if "${{" in block] == []


def test_there_is_no_secret() -> None:
    assert [path for path in FILES if "secrets" in path.read_text()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_end_and_checkouts_leave_no_token_behind(path: Path) -> None:
    for name, job in jobs(path).items():
        assert 0 < job["timeout-minutes"] < 360, name
        assert job["runs-on"] == "ubuntu-24.04", name
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False, name


def test_whoever_changes_the_endpoint_takes_turns_in_the_protected_environment() -> None:
    protected = {
        f"{path.stem}/{name}": job["concurrency"]
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if job.get("environment") == "production"
    }
    turns = {"group": "production", "cancel-in-progress": False}
    assert protected == {"promote/deploy": turns, "rollback/deploy": turns}
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            if any("pipelines/deploy.yml" in str(step.get("with", "")) for step in job["steps"]):
                assert f"{path.stem}/{name}" in protected


def model_sources() -> set[Path]:
    """What pipelines/train.yml reads: its files, its components with their code and environments."""
    pipeline_path = ROOT / "pipelines" / "train.yml"
    pipeline = yaml.safe_load(pipeline_path.read_text())
    found = {pipeline_path}
    for name, value in pipeline["inputs"].items():
        # Prices say what a training cost, and change no model.
        if isinstance(value, dict) and name != "prices":
            found.add((pipeline_path.parent / value["path"]).resolve())
    for node in pipeline["jobs"].values():
        component_path = (pipeline_path.parent / (node.get("component") or node["trial"])).resolve()
        component = yaml.safe_load(component_path.read_text())
        environment = component["environment"].removeprefix("file:")
        for name in (component["code"], *component.get("additional_includes", ()), environment):
            found.add((component_path.parent / name).resolve())
        found.add((component_path.parent / environment).resolve().parent)
        found.add(component_path)
    return found


def test_training_starts_when_what_the_model_is_made_of_changes() -> None:
    patterns = load(ROOT / ".github" / "workflows" / "train.yml")["on"]["push"]["paths"]
    used: set[str] = set()
    for source in model_sources():
        assert source.exists(), source
        name = source.relative_to(ROOT).as_posix()
        covering = [pattern for pattern in patterns if _covers(pattern, name, source.is_dir())]
        assert covering, f"{name} changes the model and starts no training"
        used.update(covering)
    assert sorted(used) == patterns, "a path that starts a training and does not change the model, or an unsorted list"


def _covers(pattern: str, name: str, is_folder: bool) -> bool:
    if not pattern.endswith("/**"):
        return pattern == name and not is_folder
    folder = pattern.removesuffix("/**")
    return name == folder or name.startswith(f"{folder}/")
