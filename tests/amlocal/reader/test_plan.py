import re
from pathlib import Path

import pytest

from amlocal.reader.bind import StepOutput
from amlocal.reader.job import read_job
from amlocal.reader.model import LiteralBinding, PathBinding
from amlocal.reader.plan import find_problems, read_plan
from amlocal.reader.source import InvalidJobError

JOBS = Path(__file__).parents[1] / "fixtures" / "jobs"


def test_steps_follow_what_they_depend_on():
    plan = read_plan(JOBS / "chain" / "job.yml")

    assert [step.name for step in plan.steps] == ["first", "second", "third"]
    assert plan.steps[2].depends == {"second"}
    assert plan.outputs == {"last": StepOutput("third", "words")}


def test_nested_pipelines_unfold_into_dotted_steps():
    plan = read_plan(JOBS / "nested" / "job.yml")

    assert [step.name for step in plan.steps] == ["outer.inner.write", "finish"]
    write, finish = plan.steps
    assert {name: source.value for name, source in write.inputs.items()} == {"first": "hello", "second": "world"}
    assert finish.inputs["text"] == StepOutput("outer.inner.write", "text")


def test_values_follow_overrides_through_every_level():
    plan = read_plan(JOBS / "nested" / "job.yml", ["inputs.word=bye"])

    assert plan.steps[0].inputs["first"].value == "bye"


def test_paths_are_relative_to_the_file_that_states_them(tmp_path):
    folder = JOBS / "files"
    source = read_plan(folder / "job.yml").steps[0].inputs["table"]

    assert isinstance(source, PathBinding)
    assert source.path == folder / "data.txt"


def test_unset_optional_inputs_have_no_source():
    plan = read_plan(JOBS / "optional" / "job.yml")
    inputs = {step.name: step.inputs for step in plan.steps}

    assert isinstance(inputs["with"]["name"], LiteralBinding)
    assert inputs["without"] == {}


def test_settings_without_meaning_here_are_named_once_with_their_place():
    job = read_plan(JOBS / "environments" / "job.yml").job

    assert {name: place.line for name, place in job.ignored.items()} == {
        "settings default_compute": 4,
        "compute": 12,
        "resources instance_type": 13,
        "resources shm_size": 13,
        "environment image": 20,
    }


def test_inputs_and_outputs_for_nobody_are_named(tmp_path):
    path = tmp_path / "job.yml"
    text = (JOBS / "chain" / "job.yml").read_text()
    path.write_text(text.replace("outputs:\n", "inputs:\n  more: 1\noutputs:\n  none: {type: uri_file}\n", 1))

    plan = read_plan(path)

    assert {name: place.line for name, place in plan.job.ignored.items()} == {
        "settings default_compute": 3,
        "input more, used by no node,": 5,
        "output none, written by no node,": 7,
    }
    assert plan.outputs["none"] is None


def test_an_input_that_only_names_a_compute_is_not_for_nobody(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "type: pipeline\ninputs: {cluster: cpu}\njobs:\n  a:\n    type: command\n    command: echo a\n"
        "    environment: azureml:any:1\n    compute: ${{parent.inputs.cluster}}\n"
    )

    assert set(read_plan(path).job.ignored) == {"compute"}
    assert set(read_plan(path, ["inputs.cluster=gpu"]).job.ignored) == {"compute"}


def test_environment_definition_holds_the_conda_file_but_not_where_it_lies():
    job = read_plan(JOBS / "environments" / "job.yml").job
    environment = job.graph.nodes["from_file"].component.environment

    assert environment.label == "joining"
    assert "python=3.11" in environment.definition
    assert str(JOBS) not in environment.definition


def test_sweep_is_read_whole():
    sweep = read_plan(JOBS / "sweep_node" / "job.yml").steps[0].node.sweep

    assert sweep.search_space["loss"].values == (4, 1, 0, 3)
    assert (sweep.goal, sweep.primary_metric, sweep.sampling.type) == ("minimize", "loss", "grid")
    assert (sweep.limits.max_total_trials, sweep.limits.max_concurrent_trials) == (10, 2)


OTHER_INPUTS = """\
type: pipeline
inputs: {greeting: hello}
jobs:
  first:
    command: echo ${{inputs.word}}
    environment: azureml:any:1
    inputs: {word: "${{parent.inputs.greeting}}"}
  second:
    command: echo ${{inputs.word}}
    environment: azureml:any:1
    inputs: {word: "SOURCE"}
"""


def test_input_of_another_node_is_its_value_and_no_dependency(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(OTHER_INPUTS.replace("SOURCE", "${{parent.jobs.first.inputs.word}}"))

    second = read_plan(path).steps[1]

    assert second.inputs["word"].value == "hello"
    assert second.depends == frozenset()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("${{parent.jobs.first.inputs.wrod}}", "job.yml:11: undefined-input: node 'first' has no input 'wrod'"),
        ("${{parent.jobs.second.inputs.word}}", "job.yml:11: cycle: ${{parent.jobs.second.inputs.word}} leads back"),
        ("${{parent.jobs.nobody.inputs.word}}", "job.yml:11: undefined-node: there is no node 'nobody'"),
    ],
)
def test_input_of_another_node_must_exist(tmp_path, source, message):
    path = tmp_path / "job.yml"
    path.write_text(OTHER_INPUTS.replace("SOURCE", source))

    with pytest.raises(InvalidJobError, match=re.escape(message)):
        read_plan(path)


def test_empty_output_of_a_command_is_a_folder(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "type: pipeline\njobs:\n  a:\n    command: ls > ${{outputs.out}}/x\n    environment: azureml:any:1\n"
        "    outputs:\n      out:\n      artifacts:\n"
    )

    node = read_plan(path).steps[0].node

    assert {name: spec.type for name, spec in node.component.outputs.items()} == {"out": "uri_folder"}


def test_definition_as_the_service_shows_it_can_be_read(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "command: echo\nenvironment: azureml:any:1\nid: azureml:/x\nstatus: Completed\n"
        "creation_context: {created_by: someone}\nlog_files: {}\nparameters: {}\n"
    )

    assert [step.name for step in read_plan(path).steps] == ["command"]


def test_file_may_be_given_where_a_component_says_folder(tmp_path):
    (tmp_path / "show.yml").write_text(
        "name: show\ntype: command\ncommand: cat ${{inputs.data}}\nenvironment: azureml:any:1\n"
        "inputs: {data: {type: uri_folder}}\n"
    )
    path = tmp_path / "job.yml"
    path.write_text(
        "type: pipeline\ninputs:\n  data: {type: uri_file, path: 'https://example.org/iris.csv'}\njobs:\n  a:\n"
        "    type: command\n    component: ./show.yml\n    identity: {type: AMLToken}\n"
        "    inputs: {data: '${{parent.inputs.data}}'}\n"
    )

    assert read_plan(path).steps[0].inputs["data"].url == "https://example.org/iris.csv"


def test_settings_that_azure_gives_no_meaning_are_named(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "type: pipeline\nsettings: {is_deterministic: false, environment: {image: python}}\njobs:\n  a:\n"
        "    command: echo\n    services: {board: {job_service_type: tensor_board}}\n"
    )

    ignored = read_plan(path).job.ignored

    assert {"settings is_deterministic", "settings environment", "services"} <= set(ignored)


ELSEWHERE = """\
type: pipeline
inputs: {d: {type: uri_folder, path: .}}
outputs: {o: {type: uri_folder}}
jobs:
  s:
    type: spark
    entry: {file: s.py}
    inputs: {d: "${{parent.inputs.d}}"}
    outputs: {o: "${{parent.outputs.o}}"}
  loop:
    type: do_while
    condition: ${{parent.jobs.s.outputs.o}}
  control:
    type: command
    environment: azureml:any:1
    command: echo
    outputs: {n: {type: integer}}
  after:
    type: command
    environment: azureml:any:1
    command: echo ${{inputs.n}} ${{inputs.o}}
    inputs: {n: "${{parent.jobs.control.outputs.n}}", o: "${{parent.jobs.s.outputs.o}}"}
"""


def test_what_only_the_service_does_is_refused_and_is_no_mistake(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(ELSEWHERE)

    assert find_problems(read_job(path)) == []
    with pytest.raises(InvalidJobError) as caught:
        read_plan(path)
    assert [(problem.rule, problem.place.line) for problem in caught.value.problems] == [
        ("not-on-this-machine", 5),
        ("not-on-this-machine", 10),
        ("not-on-this-machine", 17),
    ]
    assert "node 's' is of type spark, which needs a Spark pool" in str(caught.value)


@pytest.mark.parametrize("kind", ["spark", "data_transfer", "distillation", "import", "finetuning"])
def test_jobs_of_the_service_are_refused(tmp_path, kind):
    path = tmp_path / "job.yml"
    path.write_text(f"type: {kind}\nname: x\ntraining_data: {{}}\n")

    assert find_problems(read_job(path)) == []
    with pytest.raises(InvalidJobError, match=f"job.yml:1: not-on-this-machine: the job is of type {kind}, which "):
        read_plan(path)


def test_table_of_a_parallel_node_is_looked_at_before_anything_runs(tmp_path):
    (tmp_path / "score.py").touch()
    (tmp_path / "MLTable").write_text("paths:\n  - file: ./score.py\ntransformations:\n  - take: 5\n")
    path = tmp_path / "job.yml"
    path.write_text("""\
type: pipeline
jobs:
  score:
    type: parallel
    inputs: {t: {type: mltable, path: .}}
    input_data: ${{inputs.t}}
    task: {type: run_function, code: ., entry_script: score.py, environment: "azureml:any:1"}
""")

    with pytest.raises(InvalidJobError, match="MLTable:4: not-on-this-machine: transformation 'take' is not done"):
        read_plan(path)
