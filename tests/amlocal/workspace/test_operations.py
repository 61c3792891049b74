"""Every operation of Azure's client that docs/workspace.md lists, in this process and over loopback."""

import contextlib
import functools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient, load_component, load_job
from azure.ai.ml.entities import (
    AmlCompute,
    CronTrigger,
    Data,
    Environment,
    JobSchedule,
    ManagedOnlineEndpoint,
    Model,
)
from azure.core.exceptions import ResourceNotFoundError
from support import echo_deployment, score, set_traffic

from amlocal.testing import InProcessWorkspace, ScoringRequest, in_process, make_client
from amlocal.testing.environment import point_clients
from amlocal.workspace.connection import WorkspaceConnection

DOCS = Path(__file__).parents[3] / "docs" / "workspace.md"
COMPONENT = """\
type: command
name: NAME
environment: azureml:any:1
code: ./code
inputs: {count: {type: integer, default: 3}}
command: python main.py ${{inputs.count}}
"""


JOB = """\
type: pipeline
experiment_name: exercises
outputs: {said: {type: uri_folder}}
jobs:
  say:
    type: command
    command: echo hello > ${{outputs.said}}/hello.txt && sleep SECONDS
    environment: {image: none}
    compute: azureml:cpu-cluster
    outputs: {said: "${{parent.outputs.said}}"}
"""


@dataclass
class Operations:
    """One group of the client's operations; notes which of them are called."""

    group: str
    operations: Any
    called: set[str]

    def __getattr__(self, name: str) -> Any:
        self.called.add(f"{self.group}.{name}")
        return getattr(self.operations, name)


@dataclass
class Workplace:
    """What an exercise works with.

    Attributes:
        client: Azure's client.
        folder: A folder of its own, with `code/main.py`.
        name: A name that nothing in the workspace has yet.
        complete_job: Lets a submitted job complete with a folder as its output `said`, where it does not by itself.
        called: The operations called so far.
    """

    client: MLClient
    folder: Path
    name: str
    complete_job: Callable[[str, Path], None]
    called: set[str] = field(default_factory=set)

    def __getattr__(self, group: str) -> Operations:
        return Operations(group, getattr(self.client, group), self.called)


def complete_in_name(workspace: InProcessWorkspace, name: str, folder: Path) -> None:
    """In process, let a job complete with a folder as its output `said`."""
    workspace.jobs.complete(name, {"said": folder})


def leave_running(_name: str, _folder: Path) -> None:
    """Over loopback, jobs really run."""


def echo(request: ScoringRequest) -> object:
    """In process, what the echo script answers."""
    return {"echo": request.json(), "colour": request.deployment}


@pytest.fixture(scope="module", params=["in_process", "loopback"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[MLClient, Callable[[str, Path], None]]]:
    """A workspace in which the endpoint `served` has all its traffic on the deployment `blue`.

    Its client, and what lets a job complete.
    """
    with contextlib.ExitStack() as stack:
        if request.param == "in_process":
            workspace = stack.enter_context(in_process(tmp_path_factory.mktemp("workspace")))
            workspace.deployments.answer_with(echo)
            complete_job = functools.partial(complete_in_name, workspace)
        else:
            complete_job = leave_running
            connection: WorkspaceConnection = request.getfixturevalue("workspace")
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            point_clients(patch, connection.client_environment())
        client = make_client()
        folder = tmp_path_factory.mktemp("served") / "model"
        folder.mkdir()
        (folder / "greeting.txt").write_text("hello")
        client.models.create_or_update(Model(name="served", path=str(folder)))
        client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="served")).result()
        client.online_deployments.begin_create_or_update(echo_deployment("served", "blue", "served:1")).result()
        set_traffic(client, "served", blue=100)
        yield client, complete_job
        client.online_endpoints.begin_delete("served").result()


@pytest.fixture
def place(served: tuple[MLClient, Callable[[str, Path], None]], tmp_path: Path) -> Workplace:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("print(1)\n")
    client, complete_job = served
    return Workplace(client, tmp_path, f"thing{uuid.uuid4().hex[:8]}", complete_job)


def exercise_workspace(place: Workplace) -> None:
    assert place.workspaces.get("local").name == "local"
    default = place.datastores.get_default()
    assert default.name in [each.name for each in place.datastores.list()]
    assert place.datastores.get(default.name).account_name == "amlocal"


def exercise_compute(place: Workplace) -> None:
    place.compute.begin_create_or_update(AmlCompute(name=place.name, size="Standard_DS3_v2")).result()
    assert place.name in [each.name for each in place.compute.list()]
    found = place.compute.get(place.name)
    found.max_instances = 3
    place.compute.begin_update(found).result()
    assert place.compute.get(place.name).max_instances == 3
    place.compute.begin_delete(place.name).result()
    with pytest.raises(ResourceNotFoundError):
        place.compute.get(place.name)


def exercise_archive(place: Workplace, group: str) -> None:
    """Archive and restore version 1, then the whole asset."""
    operations: Any = getattr(place, group)
    operations.archive(place.name, "1")
    assert [each.version for each in operations.list(place.name)] == []
    operations.restore(place.name, "1")
    assert [each.version for each in operations.list(place.name)] == ["1"]
    operations.archive(place.name)
    assert place.name not in [each.name for each in operations.list()]
    operations.restore(place.name)
    assert place.name in [each.name for each in operations.list()]


def exercise_environments(place: Workplace) -> None:
    registered = place.environments.create_or_update(
        Environment(name=place.name, version="1", image="base:1", tags={"a": "b"})
    )
    assert (registered.version, place.environments.get(place.name, "1").tags) == ("1", {"a": "b"})
    assert place.environments.get(place.name, label="latest").image == "base:1"
    exercise_archive(place, "environments")


def exercise_components(place: Workplace) -> None:
    path = place.folder / "component.yml"
    path.write_text(COMPONENT.replace("NAME", place.name))
    assert place.components.create_or_update(load_component(path)).version == "1"
    for found in (place.components.get(place.name, "1"), place.components.get(place.name)):
        assert (found.version, found.inputs["count"].default) == ("1", 3)
    exercise_archive(place, "components")


def exercise_data(place: Workplace) -> None:
    asset = Data(name=place.name, path=str(place.folder / "code"), type="uri_folder", tags={"a": "b"})
    assert place.data.create_or_update(asset).version == "1"
    assert place.data.get(place.name, "1").tags == {"a": "b"}
    assert place.data.get(place.name, label="latest").version == "1"
    exercise_archive(place, "data")


def exercise_models(place: Workplace) -> None:
    asset = Model(name=place.name, path=str(place.folder / "code"), type="custom_model", tags={"a": "b"})
    assert place.models.create_or_update(asset).version == "1"
    found = place.models.get(place.name, "1")
    found.tags["stage"] = "live"
    place.models.create_or_update(found)
    assert place.models.get(place.name, label="latest").tags == {"a": "b", "stage": "live"}
    place.models.download(place.name, "1", download_path=str(place.folder / "down"))
    assert (place.folder / "down" / place.name / "code" / "main.py").read_text() == "print(1)\n"
    exercise_archive(place, "models")


def exercise_jobs(place: Workplace) -> None:
    (place.folder / "said").mkdir()
    (place.folder / "said" / "hello.txt").write_text("hello\n")
    submit(place, place.name, seconds=0)
    place.complete_job(place.name, place.folder / "said")
    place.jobs.stream(place.name)
    assert place.jobs.get(place.name).status == "Completed"
    assert [each.display_name for each in place.jobs.list(parent_job_name=place.name)] == ["say"]
    place.jobs.download(place.name, output_name="said", download_path=place.folder / "down")
    assert [path.read_text() for path in (place.folder / "down").rglob("hello.txt")] == ["hello\n"]
    assert place.jobs.update(place.name, tags={"a": "b"}).tags == {"a": "b"}
    place.jobs.archive(place.name)
    assert place.name not in [each.name for each in place.jobs.list()]
    place.jobs.restore(place.name)
    assert place.name in [each.name for each in place.jobs.list()]

    submit(place, f"{place.name}-long", seconds=100)
    place.jobs.begin_cancel(f"{place.name}-long").result()
    assert place.jobs.get(f"{place.name}-long").status == "Canceled"


def exercise_schedules(place: Workplace) -> None:
    (place.folder / "job.yml").write_text(JOB.replace("SECONDS", "0"))
    schedule = JobSchedule(
        name=place.name,
        trigger=CronTrigger(expression="0 3 * * 1-5"),
        create_job=load_job(place.folder / "job.yml"),
    )
    assert place.schedules.begin_create_or_update(schedule).result().is_enabled
    assert not place.schedules.begin_disable(place.name).result().is_enabled
    assert place.name not in [each.name for each in place.schedules.list()]
    place.schedules.begin_enable(place.name).result()
    assert place.schedules.get(place.name).trigger.expression == "0 3 * * 1-5"
    fired = place.schedules.trigger(place.name).job_name
    place.complete_job(fired, place.folder)
    place.jobs.stream(fired)
    assert place.jobs.get(fired).status == "Completed"
    place.schedules.begin_delete(place.name).result()
    assert place.name not in [each.name for each in place.schedules.list(list_view_type="All")]


def submit(place: Workplace, name: str, seconds: int) -> None:
    (place.folder / "job.yml").write_text(JOB.replace("SECONDS", str(seconds)))
    created = place.jobs.create_or_update(load_job(place.folder / "job.yml", params_override=[{"name": name}]))
    assert (created.name, created.type) == (name, "pipeline")


def exercise_endpoints(place: Workplace) -> None:
    place.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=place.name, tags={"a": "b"})).result()
    assert place.online_endpoints.get(place.name).tags == {"a": "b"}
    assert {place.name, "served"} <= {each.name for each in place.online_endpoints.list()}
    keys = place.online_endpoints.get_keys(place.name)
    place.online_endpoints.begin_regenerate_keys(place.name, key_type="secondary").result()
    renewed = place.online_endpoints.get_keys(place.name)
    assert (renewed.primary_key == keys.primary_key, renewed.secondary_key == keys.secondary_key) == (True, False)
    place.online_endpoints.begin_delete(place.name).result()
    with pytest.raises(ResourceNotFoundError):
        place.online_endpoints.get(place.name)


def exercise_deployments(place: Workplace) -> None:
    place.online_deployments.begin_create_or_update(echo_deployment("served", "green", "served:1")).result()
    assert place.online_deployments.get("green", "served").provisioning_state == "Succeeded"
    assert [each.name for each in place.online_deployments.list("served")] == ["blue", "green"]
    assert place.online_deployments.get_logs("green", "served", lines=10)
    set_traffic(place, "served", {"green": 20}, blue=100)
    assert place.online_endpoints.get("served").mirror_traffic == {"green": 20}
    set_traffic(place, "served", green=100)
    assert score(place, "served").json()["colour"] == "green"
    set_traffic(place, "served", blue=100)
    assert score(place, "served").json()["colour"] == "blue"
    place.online_deployments.begin_delete("green", "served").result()
    assert [each.name for each in place.online_deployments.list("served")] == ["blue"]


def exercise_invoke(place: Workplace) -> None:
    (place.folder / "request.json").write_text('{"text": "hi"}')
    answer = place.online_endpoints.invoke("served", request_file=str(place.folder / "request.json"))
    assert {key: json.loads(answer)[key] for key in ("echo", "colour")} == {"echo": {"text": "hi"}, "colour": "blue"}


EXERCISES: dict[Callable[[Workplace], None], str] = {
    exercise_workspace: "workspaces.get datastores.get datastores.get_default datastores.list",
    exercise_compute: "compute.begin_create_or_update .get .list .begin_update .begin_delete",
    exercise_environments: "environments.create_or_update .get .list .archive .restore",
    exercise_components: "components.create_or_update .get .list .archive .restore",
    exercise_data: "data.create_or_update .get .list .archive .restore",
    exercise_models: "models.create_or_update .get .list .download .archive .restore",
    exercise_jobs: "jobs.create_or_update .get .list .stream .download .update .archive .restore .begin_cancel",
    exercise_schedules: (
        "schedules.begin_create_or_update .get .list .begin_disable .begin_enable .trigger .begin_delete"
    ),
    exercise_endpoints: (
        "online_endpoints.begin_create_or_update .get .list .get_keys .begin_regenerate_keys .begin_delete"
    ),
    exercise_deployments: "online_deployments.begin_create_or_update .get .list .get_logs .begin_delete",
    exercise_invoke: "online_endpoints.invoke",
}


def operations_of(exercise: Callable[[Workplace], None]) -> set[str]:
    """Spell out what an exercise covers; a name without a group has that of the one before it."""
    result, group = set(), ""
    for each in EXERCISES[exercise].split():
        before, _, name = each.partition(".")
        group = before or group
        result.add(f"{group}.{name}")
    return result


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.__name__.removeprefix("exercise_"))
def test_the_client_does(place: Workplace, exercise: Callable[[Workplace], None]) -> None:
    exercise(place)
    assert operations_of(exercise) <= place.called


def test_every_listed_operation_is_exercised() -> None:
    listed = set(
        re.findall(r"`(\w+\.\w+)`", _section(DOCS.read_text(encoding="utf-8"), "### Operations of `MLClient`"))
    )
    assert listed
    assert listed == set().union(*(operations_of(exercise) for exercise in EXERCISES))


def _section(text: str, heading: str) -> str:
    after = text.partition(f"{heading}\n")[2]
    return re.split(r"^#+ ", after, maxsplit=1, flags=re.MULTILINE)[0]
