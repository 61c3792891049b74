"""What a job names that is no local path: looked up, mapped, or left open without a false alarm."""

import dataclasses

import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.assets import NoAssets, RegisteredPath, mapped, parse_mappings
from amlocal.reader.job import read_job
from amlocal.reader.model import CommandNode, PathBinding, UnresolvedNode
from amlocal.reader.plan import find_problems, make_plan, read_plan
from amlocal.reader.source import InvalidJobError

JOB = """\
type: pipeline
inputs:
  data: {type: uri_folder, path: azureml:reviews:2}
jobs:
  prep:
    type: command
    component: azureml:prep:1
    inputs:
      data: ${{parent.inputs.data}}
      whatever: 3
    outputs:
      dataset: {mode: upload}
    resources: {instance_count: 2}
  train:
    type: command
    environment: azureml:any:1
    inputs:
      dataset: ${{parent.jobs.prep.outputs.dataset}}
    command: ls ${{inputs.dataset}}
"""
PREP = """\
type: command
name: prep
environment: azureml:any:1
inputs:
  data: {type: uri_folder}
  whatever: {type: integer}
outputs:
  dataset: {type: uri_folder}
command: cp ${{inputs.data}}/* ${{outputs.dataset}}
"""


@dataclasses.dataclass(frozen=True)
class Known(NoAssets):
    """A registry of one data asset and one component."""

    data_asset: RegisteredPath | None = None
    definition: object = None

    def data(self, reference):
        return self.data_asset if reference.name == "reviews" else None

    def component(self, reference):
        return self.definition if reference.name == "prep" else None


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(JOB)
    return path


def test_what_is_not_on_this_machine_is_no_problem_of_the_file(job):
    read = read_job(job)

    assert find_problems(read) == []
    assert isinstance(read.graph.nodes["prep"], UnresolvedNode)
    assert read.graph.nodes["prep"].reference == "azureml:prep:1"
    assert [(problem.rule, problem.place.line) for problem in read.unresolved] == [
        ("not-on-this-machine", 3),
        ("not-on-this-machine", 7),
    ]


def test_but_it_cannot_be_run_and_says_what_to_do(job):
    with pytest.raises(InvalidJobError) as caught:
        make_plan(read_job(job))

    text = str(caught.value)
    assert "job.yml:7: not-on-this-machine: component azureml:prep:1 is not registered in this workspace" in text
    assert "amlocal component create --file FILE, or give --map azureml:prep:1=FILE" in text
    assert "job.yml:3: not-on-this-machine: data asset azureml:reviews:2 is not registered" in text
    assert "--map azureml:reviews:2=FOLDER" in text


def test_a_mistake_beside_it_is_still_found(job):
    job.write_text(JOB.replace("parent.jobs.prep.outputs", "parent.jobs.prpe.outputs"))

    assert [problem.rule for problem in find_problems(read_job(job))] == ["undefined-node"]


def test_registered_assets_are_looked_up(job, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    definition = tmp_path / "elsewhere" / "component.yml"
    definition.write_text(PREP)
    assets = Known(RegisteredPath(tmp_path, "uri_folder", "2"), definition)

    plan = read_plan(job, assets=assets)

    assert isinstance(plan.job.graph.nodes["prep"], CommandNode)
    assert plan.steps[0].inputs["data"].path == tmp_path


def test_an_asset_of_the_wrong_type_is_an_error(job, tmp_path):
    with pytest.raises(InvalidJobError, match=r"job\.yml:3: type: input 'data' is a uri_folder, and azureml:reviews:2"):
        read_job(job, assets=Known(RegisteredPath(tmp_path, "uri_file", "2")))


def test_mappings_stand_in_for_every_kind_of_address(job, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "prep.yml").write_text(PREP)
    mappings = parse_mappings([f"azureml:reviews:2={tmp_path / 'mine'}", f"azureml:prep:1={tmp_path / 'prep.yml'}"])

    plan = read_plan(job, mappings=mappings)

    assert [step.name for step in plan.steps] == ["prep", "train"]
    source = plan.steps[0].inputs["data"]
    assert isinstance(source, PathBinding)
    assert source.path == tmp_path / "mine"


def test_a_mapping_that_nothing_uses_is_a_slip_of_the_pen(job, tmp_path):
    option = f"azureml:review:2={tmp_path}"

    with pytest.raises(AmlocalError, match=r"--map azureml:review:2=.*: nothing in .*job.yml names azureml:review:2"):
        read_job(job, mappings=parse_mappings([option]))


def test_longest_prefix_wins_and_none_leads_out_of_its_folder(tmp_path):
    for name in ("all", "some"):
        (tmp_path / name).mkdir()
    stems = ("wasbs://c@a.net/", "wasbs://c@a.net/deep")
    mappings = parse_mappings([f"{stems[0]}={tmp_path / 'all'}", f"{stems[1]}={tmp_path / 'some'}"])

    def path(text):
        found = mapped(text, mappings)
        return found and found[0]

    assert path("wasbs://c@a.net/x/y.csv") == tmp_path / "all" / "x" / "y.csv"
    assert path("wasbs://c@a.net/deep/y.csv") == tmp_path / "some" / "y.csv"
    assert path("wasbs://c@a.net/deeper") == tmp_path / "all" / "deeper"
    assert path("wasbs://c@a.net/../../etc") is None
    assert path("abfss://c@a.net/x") is None


def test_a_mapping_may_hold_equals_signs(tmp_path):
    (mapping,) = parse_mappings([f"https://h/x?sig=a={tmp_path}"])

    assert (mapping.uri, mapping.path) == ("https://h/x?sig=a", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["azureml:a:1"], "expected URI=PATH"),
        (["=x"], "expected URI=PATH"),
        (["azureml:a:1=no/such/folder"], "no/such/folder does not exist"),
        (["azureml:a:1=.", "azureml:a:1=.."], "azureml:a:1 is mapped twice"),
    ],
)
def test_wrong_mappings_are_refused(options, message):
    with pytest.raises(AmlocalError, match=message):
        parse_mappings(options)


@pytest.mark.parametrize("code", ["git+https://example.org/r.git", "https://example.org/x.zip", "azureml:code:1"])
def test_code_elsewhere_is_not_judged_and_not_run(tmp_path, code):
    (tmp_path / "job.yml").write_text(f"type: command\ncommand: python x.py\nenvironment: azureml:a:1\ncode: {code}\n")

    job = read_job(tmp_path / "job.yml")

    assert not job.graph.nodes["command"].component.code.complete
    assert find_problems(job) == []
    with pytest.raises(InvalidJobError, match=r"job\.yml:4: not-on-this-machine: code .* give --map"):
        make_plan(job)
    plan = read_plan(tmp_path / "job.yml", mappings=parse_mappings([f"{code}={tmp_path}"]))
    assert plan.steps[0].node.component.code.root == tmp_path


def test_components_of_pipelines_and_trials_of_sweeps_may_be_elsewhere(tmp_path):
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text("type: pipeline\ninputs: {x: 1}\ncomponent: azureml:whole@latest\n")
    assert find_problems(read_job(pipeline)) == []
    with pytest.raises(InvalidJobError, match=r"pipeline\.yml:3: not-on-this-machine"):
        read_plan(pipeline)

    sweep = tmp_path / "sweep.yml"
    sweep.write_text(
        "type: sweep\ntrial: azureml:trial:1\nsearch_space:\n  x: {type: choice, values: [1]}\n"
        "objective: {goal: minimize, primary_metric: loss}\nlimits: {max_total_trials: 1}\n"
    )
    assert find_problems(read_job(sweep)) == []
    with pytest.raises(InvalidJobError, match=r"sweep\.yml:2: not-on-this-machine"):
        read_plan(sweep)


@pytest.mark.parametrize("kind", ["uri_folder", "mltable"])
def test_a_url_is_one_file(tmp_path, kind):
    (tmp_path / "job.yml").write_text(
        "type: command\ncommand: cat ${{inputs.x}}\nenvironment: azureml:a:1\n"
        f"inputs:\n  x: {{type: {kind}, path: 'https://example.org/x.csv'}}\n"
    )

    with pytest.raises(InvalidJobError, match=r"job\.yml:5: type: .*--map https://example.org/x.csv=FOLDER"):
        read_job(tmp_path / "job.yml")
