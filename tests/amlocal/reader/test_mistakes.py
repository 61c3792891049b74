"""Mistakes an author makes: each is found before anything runs, with the line marked ``#! rule`` and no other.

The base job is valid; a mistake replaces one piece of it.
"""

import re

import pytest

from amlocal.lint.check import lint_file
from amlocal.lint.files import Kind
from amlocal.reader.plan import read_plan
from amlocal.reader.source import InvalidJobError

JOB = """\
type: pipeline
inputs:
  data: {type: uri_file, path: data.csv}
  epochs: 3
outputs:
  model: {type: uri_folder}
jobs:
  prep:
    type: command
    component: ./prep.yml
    inputs:
      data: ${{parent.inputs.data}}
  train:
    type: command
    component: ./train.yml
    inputs:
      dataset: ${{parent.jobs.prep.outputs.dataset}}
      epochs: ${{parent.inputs.epochs}}
      kind: small
    outputs:
      model: ${{parent.outputs.model}}
"""

PREP = """\
type: command
name: prep
environment: azureml:any:1
inputs:
  data: {type: uri_file}
outputs:
  dataset: {type: uri_folder}
command: cp ${{inputs.data}} ${{outputs.dataset}}
"""

TRAIN = """\
type: command
name: train
environment: azureml:any:1
inputs:
  dataset: {type: uri_folder}
  epochs: {type: integer, min: 1, max: 10}
  rate: {type: number, default: 0.1}
  kind: {type: string, enum: [small, large]}
  note: {type: string, optional: true}
outputs:
  model: {type: uri_folder}
command: >-
  train ${{inputs.dataset}} ${{inputs.epochs}} ${{inputs.rate}} ${{inputs.kind}} $[[${{inputs.note}}]]
  ${{outputs.model}}
"""

SWEEP = """\
type: pipeline
jobs:
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs:
        rate: {type: number}
        kind: {type: string, enum: [small, large]}
      outputs:
        model: {type: uri_folder}
      command: train ${{inputs.rate}} ${{inputs.kind}} ${{outputs.model}}
    search_space:
      rate: {type: uniform, min_value: 0.1, max_value: 0.9}
      kind: {type: choice, values: [small, large]}
    sampling_algorithm: random
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 4, max_concurrent_trials: 2}
    early_termination: {type: bandit, slack_factor: 0.1}
"""

PARALLEL = """\
type: pipeline
inputs:
  data: {type: uri_folder, path: .}
jobs:
  score:
    type: parallel
    inputs:
      data: ${{parent.inputs.data}}
      word: text
    outputs:
      rows: {type: uri_file}
    input_data: ${{inputs.data}}
    mini_batch_size: 10
    retry_settings: {max_retries: 1, timeout: 10}
    task:
      type: run_function
      code: .
      entry_script: score.py
      environment: azureml:any:1
      program_arguments: --word ${{inputs.word}}
      append_row_to: ${{outputs.rows}}
"""

FILES = {
    "job.yml": JOB,
    "prep.yml": PREP,
    "train.yml": TRAIN,
    "sweep.yml": SWEEP,
    "parallel.yml": PARALLEL,
    "data.csv": "a,b\n",
    "score.py": "def run(files):\n    return files\n",
}

# name: file, what is replaced, by what. The replacement marks the line of the problem.
MISTAKES = {
    "undefined node": (
        "job.yml",
        "dataset: ${{parent.jobs.prep.outputs.dataset}}",
        "dataset: ${{parent.jobs.prepare.outputs.dataset}} #! undefined-node",
    ),
    "undefined node output": (
        "job.yml",
        "dataset: ${{parent.jobs.prep.outputs.dataset}}",
        "dataset: ${{parent.jobs.prep.outputs.data}} #! undefined-output",
    ),
    "undefined parent input": (
        "job.yml",
        "epochs: ${{parent.inputs.epochs}}",
        "epochs: ${{parent.inputs.epoch}} #! undefined-input",
    ),
    "undefined parent output": (
        "job.yml",
        "model: ${{parent.outputs.model}}",
        "model: ${{parent.outputs.modell}} #! undefined-output",
    ),
    "output that the component lacks": (
        "job.yml",
        "      model: ${{parent.outputs.model}}",
        "      models: ${{parent.outputs.model}} #! undefined-output",
    ),
    "undefined input in the command": (
        "train.yml",
        "command: >-\n  train ${{inputs.dataset}}",
        "#! undefined-input 2\ncommand: >-\n  train ${{inputs.datasets}}",
    ),
    "undefined input on a line of its own": (
        "prep.yml",
        "command: cp ${{inputs.data}} ${{outputs.dataset}}",
        "command: |\n  set -e\n  cp ${{inputs.dat}} x\n#! undefined-input -1",
    ),
    "undefined output in the command": (
        "prep.yml",
        "${{outputs.dataset}}\n",
        "${{outputs.datasets}} #! undefined-output\n",
    ),
    "parent input in a command": (
        "prep.yml",
        "${{outputs.dataset}}\n",
        "${{parent.inputs.data}} #! expression\n",
    ),
    "search space outside a sweep": (
        "prep.yml",
        "${{outputs.dataset}}\n",
        "${{search_space.x}} #! undefined-hyperparameter\n",
    ),
    "malformed expression": ("job.yml", "${{parent.inputs.epochs}}", "${{parent.input.epochs}} #! expression"),
    "unclosed expression": ("job.yml", "${{parent.inputs.epochs}}", "'${{parent.inputs.epochs' #! expression"),
    "component input as a node input": (
        "job.yml",
        "epochs: ${{parent.inputs.epochs}}",
        "epochs: ${{inputs.epochs}} #! expression",
    ),
    "undeclared input": ("job.yml", "      kind: small", "      kind: small\n      size: 3 #! undeclared-input"),
    "missing required input": ("job.yml", "      kind: small\n", "", "  train:\n", "  train: #! required-input\n"),
    "required pipeline input without value": (
        "job.yml",
        "  epochs: 3",
        "  epochs: {type: integer} #! required-input",
    ),
    "optional pipeline input for a required one": (
        "job.yml",
        "  epochs: 3",
        "  epochs: {type: integer, optional: true}",
        "      epochs: ${{parent.inputs.epochs}}",
        "      epochs: ${{parent.inputs.epochs}} #! required-input",
    ),
    "literal of the wrong type": (
        "job.yml",
        "epochs: ${{parent.inputs.epochs}}",
        "epochs: many #! value",
    ),
    "parent's literal of the wrong type": (
        "job.yml",
        "  epochs: 3",
        "  epochs: three",
        "      epochs: ${{parent.inputs.epochs}}",
        "      epochs: ${{parent.inputs.epochs}} #! value",
    ),
    "a date without quotes": ("job.yml", "kind: small", "kind: 2024-01-31 #! type"),
    "a list": ("job.yml", "kind: small", "kind: [small] #! type"),
    "above the maximum": ("job.yml", "epochs: ${{parent.inputs.epochs}}", "epochs: 11 #! value"),
    "below the minimum": ("job.yml", "epochs: ${{parent.inputs.epochs}}", "epochs: 0 #! value"),
    "outside the enum": ("job.yml", "kind: small", "kind: medium #! value"),
    "folder for a number": (
        "job.yml",
        "epochs: ${{parent.inputs.epochs}}",
        "epochs: ${{parent.jobs.prep.outputs.dataset}} #! type",
    ),
    "file for a number": (
        "job.yml",
        "epochs: ${{parent.inputs.epochs}}",
        "epochs: ${{parent.inputs.data}} #! type",
    ),
    "number for a folder": (
        "job.yml",
        "dataset: ${{parent.jobs.prep.outputs.dataset}}",
        "dataset: ${{parent.inputs.epochs}} #! value",
    ),
    "missing data": ("job.yml", "path: data.csv}", "path: dat.csv} #! missing-data"),
    "path for a plain type": ("job.yml", "{type: uri_file, path: data.csv}", "{type: string, path: a} #! type"),
    "self-reference": (
        "job.yml",
        "  prep:\n",
        "  prep: #! cycle\n",
        "${{parent.inputs.data}}",
        "${{parent.jobs.prep.outputs.dataset}}",
    ),
    "cycle": (
        "job.yml",
        "  prep:\n",
        "  prep: #! cycle\n",
        "${{parent.inputs.data}}",
        "${{parent.jobs.train.outputs.model}}",
    ),
    "missing component file": ("job.yml", "./train.yml", "./trian.yml #! missing-file"),
    "registered component": ("job.yml", "./train.yml", "azureml:train:1 #! not-on-this-machine"),
    "wrong node type": ("job.yml", "  prep:\n    type: command", "  prep: #! type\n    type: commands"),
    "node of the service": ("job.yml", "  prep:\n    type: command", "  prep: #! not-on-this\n    type: spark"),
    "unknown key of the job": ("job.yml", "type: pipeline\n", "type: pipeline\ncomputer: x #! unknown-key\n"),
    "unknown key of a node": ("job.yml", "  prep:\n", "  prep:\n    input: {} #! unknown-key\n"),
    "unknown key of a component": ("train.yml", "name: train", "name: train\nimage: x #! unknown-key"),
    "unknown key of settings": (
        "job.yml",
        "jobs:\n",
        "settings:\n  continue_on_failure: true #! unknown-key\njobs:\n",
    ),
    "unknown key of an input": (
        "train.yml",
        "rate: {type: number, default: 0.1}",
        "rate: {type: number, defualt: 0.1} #! unknown-key",
    ),
    "unknown type of an input": ("train.yml", "{type: number,", "{type: float, #! type\n    "),
    "default outside its own bounds": (
        "train.yml",
        "epochs: {type: integer, min: 1, max: 10}",
        "epochs: {type: integer, min: 1, max: 10, default: 20} #! default",
    ),
    "min above max": (
        "train.yml",
        "epochs: {type: integer, min: 1, max: 10}",
        "epochs: {type: integer, min: 4, max: 2} #! range",
    ),
    "key stated twice": ("train.yml", "name: train", "name: train\nname: other #! duplicate-key"),
    "optional input outside brackets": (
        "train.yml",
        "command: >-",
        "#! optional-input 2\ncommand: >-",
        "$[[${{inputs.note}}]]",
        "${{inputs.note}}",
    ),
    "two writers of one output": (
        "job.yml",
        "      data: ${{parent.inputs.data}}\n",
        "      data: ${{parent.inputs.data}}\n    outputs: {dataset: '${{parent.outputs.model}}'}\n",
        "      model: ${{parent.outputs.model}}",
        "      model: ${{parent.outputs.model}} #! output-written-twice",
    ),
    "missing code folder": ("prep.yml", "name: prep", "name: prep\ncode: ./src #! missing-file"),
    "code that is no path": ("prep.yml", "name: prep", "name: prep\ncode: {local_path: ./src} #! type"),
    "input at an address with the job's name": (
        "job.yml",
        "path: data.csv}",
        "path: 'azureml://datastores/workspaceblobstore/paths/${{name}}'} #! not-supported",
    ),
    "missing include": (
        "prep.yml",
        "name: prep",
        "name: prep\nadditional_includes:\n  - ./none #! missing-file",
    ),
    "missing environment file": ("prep.yml", "azureml:any:1", "file:./env.yml #! missing-file"),
    "environment without image": ("prep.yml", "azureml:any:1", "{name: x} #! required"),
    "component without command": ("prep.yml", "command: cp", "#! required @1\ndescription: cp"),
    "no nodes": ("job.yml", JOB[JOB.index("jobs:") :], "#! required @1"),
    "reserved output": (
        "prep.yml",
        "  dataset: {type: uri_folder}",
        "  dataset: {type: uri_folder}\n  artifacts: {type: uri_folder} #! reserved-name",
    ),
    "distribution ray": ("prep.yml", "name: prep", "name: prep\ndistribution: {type: ray} #! not-on-this-machine"),
    "unknown distribution type": ("prep.yml", "name: prep", "name: prep\ndistribution: {type: nccl} #! type"),
    "key of another distribution": (
        "prep.yml",
        "name: prep",
        "name: prep\ndistribution:\n  type: mpi\n  worker_count: 2 #! unknown-key",
    ),
    "no process": (
        "prep.yml",
        "name: prep",
        "name: prep\ndistribution: {type: mpi, process_count_per_instance: 0} #! range",
    ),
    "half an instance": ("prep.yml", "name: prep", "name: prep\nresources: {instance_count: 1.5} #! type"),
    "instances from a file": (
        "job.yml",
        "  prep:\n    type: command",
        "  prep:\n    type: command\n    distribution: {type: pytorch}\n"
        "    resources: {instance_count: '${{parent.inputs.data}}'} #! expression",
    ),
    "instances from no input": (
        "job.yml",
        "  prep:\n    type: command",
        "  prep:\n    type: command\n    distribution: {type: pytorch}\n"
        "    resources: {instance_count: '${{parent.inputs.nodes}}'} #! undefined-input",
    ),
    "misspelt resource": ("prep.yml", "name: prep", "name: prep\nresources: {instance_counts: 2} #! unknown-key"),
    "misspelt queue setting": ("prep.yml", "name: prep", "name: prep\nqueue_settings: {tier: spot} #! unknown-key"),
    "unknown identity": ("prep.yml", "name: prep", "name: prep\nidentity: {type: me} #! type"),
    "misspelt service": ("prep.yml", "name: prep", "name: prep\nservices: {s: {typ: ssh}} #! unknown-key"),
    "remote data": ("job.yml", "path: data.csv}", "path: 'wasbs://c@a.net/x'} #! not-on-this-machine"),
    "timeout that is no number": ("job.yml", "  prep:\n", "  prep:\n    limits:\n      timeout: soon #! type\n"),
    "hyperparameter that is no input": (
        "sweep.yml",
        "      kind: {type: choice, values: [small, large]}",
        "      kind: {type: choice, values: [small, large]}\n"
        "      kinds: {type: choice, values: [small]} #! search-space",
    ),
    "choice outside the enum": ("sweep.yml", "values: [small, large]}", "values: [small, big]} #! search-space"),
    "min_value above max_value": (
        "sweep.yml",
        "min_value: 0.1, max_value: 0.9}",
        "min_value: 0.9, max_value: 0.1} #! search-space",
    ),
    "size of mini batches": ("parallel.yml", "mini_batch_size: 10", "mini_batch_size: 10 kb #! type"),
    "empty mini batches": ("parallel.yml", "mini_batch_size: 10", "mini_batch_size: 0 #! range"),
    "threshold below -1": ("parallel.yml", "mini_batch_size: 10", "error_threshold: -2 #! range"),
    "retries below 0": ("parallel.yml", "max_retries: 1, timeout: 10}", "max_retries: -1} #! range"),
    "timeout of three days": ("parallel.yml", "timeout: 10}", "timeout: 259201} #! range"),
    "misspelt retry setting": ("parallel.yml", "timeout: 10}", "time_out: 10} #! unknown-key"),
    "misspelt task key": ("parallel.yml", "      program_arguments:", "      arguments: x #! unknown-key\n      args:"),
    "misspelt key of a parallel node": ("parallel.yml", "mini_batch_size: 10", "minibatch_size: 1 #! unknown-key"),
    "input_data is no reference": ("parallel.yml", "input_data: ${{inputs.data}}", "input_data: data #! expression"),
    "input_data is no input": (
        "parallel.yml",
        "input_data: ${{inputs.data}}",
        "input_data: ${{inputs.d}} #! undefined-",
    ),
    "input_data is a plain value": (
        "parallel.yml",
        "input_data: ${{inputs.data}}",
        "input_data: ${{inputs.word}} #! type",
    ),
    "append to no output": ("parallel.yml", "to: ${{outputs.rows}}", "to: ${{outputs.row}} #! undefined-output"),
    "argument is no input": ("parallel.yml", "word ${{inputs.word}}", "word ${{inputs.words}} #! undefined-input"),
    "missing entry script": ("parallel.yml", "entry_script: score.py", "entry_script: scores.py #! missing-file"),
    "unknown task": ("parallel.yml", "type: run_function", "type: run_functions #! type"),
    "task of a model": ("parallel.yml", "type: run_function", "type: model #! not-on-this-machine"),
    "unknown logging level": ("parallel.yml", "mini_batch_size: 10", "logging_level: LOUD #! type"),
    "partition keys": ("parallel.yml", "mini_batch_size: 10", "partition_keys: [a] #! not-on-this-machine"),
    "parallel at the top": ("parallel.yml", "type: pipeline\n", "type: parallel #! type @1\n"),
    "missing bound": ("sweep.yml", "min_value: 0.1, max_value: 0.9}", "min_value: 0.1} #! required"),
    "unknown distribution": ("sweep.yml", "type: uniform,", "type: uniformly, #! search-space\n       "),
    "grid over a continuous space": (
        "sweep.yml",
        "sampling_algorithm: random",
        "sampling_algorithm: grid",
        "max_value: 0.9}",
        "max_value: 0.9} #! sampling",
    ),
    "bayesian with early termination": (
        "sweep.yml",
        "  tune:\n",
        "  tune: #! sampling\n",
        "sampling_algorithm: random",
        "sampling_algorithm: bayesian",
    ),
    "unknown sampling": ("sweep.yml", "algorithm: random", "algorithm: hyperband #! sampling"),
    "bandit without slack": ("sweep.yml", "{type: bandit, slack_factor: 0.1}", "{type: bandit} #! early-termination"),
    "bandit with both slacks": ("sweep.yml", "slack_factor: 0.1}", "slack_factor: 0.1, slack_amount: 1} #! early-term"),
    "truncation of everything": (
        "sweep.yml",
        "{type: bandit, slack_factor: 0.1}",
        "{type: truncation_selection, truncation_percentage: 100} #! early-termination",
    ),
    "more concurrent than total": ("sweep.yml", "max_concurrent_trials: 2}", "max_concurrent_trials: 5} #! limits"),
    "no total": ("sweep.yml", "{max_total_trials: 4, max_concurrent_trials: 2}", "{timeout: 5} #! required"),
    "unknown goal": ("sweep.yml", "goal: maximize", "goal: best #! objective\n      "),
    "more trials than Azure takes": (
        "sweep.yml",
        "{max_total_trials: 4, max_concurrent_trials: 2}",
        "{max_total_trials: 1001} #! limits",
    ),
    "a limit that is an expression": (
        "sweep.yml",
        "{max_total_trials: 4, max_concurrent_trials: 2}",
        "{max_total_trials: '${{parent.inputs.n}}'} #! expression",
    ),
    "a search space that is an expression": (
        "sweep.yml",
        "values: [small, large]}",
        "values: [small, '${{parent.inputs.kind}}']} #! expression",
    ),
    "a choice between mappings": ("sweep.yml", "values: [small, large]}", "values: [{a: 1}]} #! not-supported"),
    "a choice between booleans": ("sweep.yml", "values: [small, large]}", "values: [true, false]} #! search-space"),
    "a fractional end for an integer": (
        "sweep.yml",
        "rate: {type: number}",
        "rate: {type: integer}",
        "min_value: 0.1, max_value: 0.9}",
        "min_value: 0, max_value: 0.9} #! search-space",
    ),
    "a range beyond the input's": (
        "sweep.yml",
        "rate: {type: number}",
        "rate: {type: number, max: 0.5}",
        "max_value: 0.9}",
        "max_value: 0.9} #! search-space",
    ),
    "numbers for a boolean": (
        "sweep.yml",
        "rate: {type: number}",
        "rate: {type: boolean}",
        "max_value: 0.9}",
        "max_value: 0.9} #! search-space",
    ),
    "a key that only Azure's page knows": (
        "sweep.yml",
        "{type: bandit, slack_factor: 0.1}",
        "{type: truncation_selection, truncation_percentage: 20, exclude_finished_jobs: true} #! unknown-key",
    ),
    "no objective": (
        "sweep.yml",
        "    objective: {goal: maximize, primary_metric: score}",
        "    objective: {goal: maximize} #! required",
    ),
}


def project(tmp_path, file=None, *replacements):
    for name, text in FILES.items():
        if name == file:
            for old, new in zip(replacements[::2], replacements[1::2], strict=True):
                assert old in text
                text = text.replace(old, new, 1)
        (tmp_path / name).write_text(text)
    return tmp_path / (file if file in {"sweep.yml", "parallel.yml"} else "job.yml")


def expected_problem(text):
    """Find ``#! rule``: on the problem's line, or with its distance (``-1``, ``2``) or number (``@1``)."""
    for number, line in enumerate(text.splitlines(), 1):
        match = re.search(r"#! ([\w-]+?)(?: (-?\d+)| @(\d+))?$", line)
        if match:
            return match[1], int(match[3]) if match[3] else number + int(match[2] or 0)
    raise AssertionError("the mistake marks no line")


@pytest.mark.parametrize("file", ["job.yml", "sweep.yml", "parallel.yml"])
def test_jobs_without_a_mistake_are_accepted(tmp_path, file):
    assert read_plan(project(tmp_path).parent / file).steps


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found_with_file_and_line(tmp_path, name):
    file, *replacements = MISTAKES[name]
    job = project(tmp_path, file, *replacements)
    rule, line = expected_problem((tmp_path / file).read_text())

    with pytest.raises(InvalidJobError) as caught:
        read_plan(job)

    found = [(problem.rule, problem.place.file.name, problem.place.line) for problem in caught.value.problems]
    assert [(kind[: len(rule)], path, at) for kind, path, at in found] == [(rule, file, line)], caught.value
    if not rule.startswith("not-"):  # what only this machine cannot do is no fault of the file
        linted = [str(problem) for problem in lint_file(job, kind=Kind.JOB).problems if not problem.warning]
        # A declaration among a job's inputs is a mistake of its own, which the linter names besides.
        linted = [text for text in linted if ": job-input: " not in text]
        assert linted == [str(problem) for problem in caught.value.problems]


def test_all_problems_are_reported_at_once(tmp_path):
    job = project(tmp_path, "job.yml", "kind: small", "kind: medium", "./prep.yml", "./none.yml", "epochs: 3", "a: 3")

    with pytest.raises(InvalidJobError) as caught:
        read_plan(job)
    assert "none.yml does not exist" in str(caught.value)

    job = project(tmp_path, "job.yml", "kind: small", "kind: medium", "  epochs: 3", "  epoch: 3")
    with pytest.raises(InvalidJobError, match="2 problems"):
        read_plan(job)


def test_problem_of_an_override_names_the_option(tmp_path):
    with pytest.raises(InvalidJobError, match=r"job\.yml:18: value: input 'epochs': expected at most 10, found 20"):
        read_plan(project(tmp_path), ["inputs.epochs=20"])
    with pytest.raises(InvalidJobError, match=r"--set inputs\.epoch=2: unused: input epoch, used by no node"):
        read_plan(project(tmp_path), ["inputs.epoch=2"])
    with pytest.raises(InvalidJobError, match=r"--set jobs\.train\.inputs\.kind=tiny: value"):
        read_plan(project(tmp_path), ["jobs.train.inputs.kind=tiny"])


def test_problems_inside_one_node_and_behind_it_are_all_reported(tmp_path):
    project(tmp_path)
    text = JOB.replace(
        "      dataset: ${{parent.jobs.prep.outputs.dataset}}", "      dataset: ${{parent.jobs.pre.outputs.x}}"
    )
    text = text.replace("      kind: small", "      kind: [small]").replace(
        "epochs: 3", "epochs: {type: integer, path: a}"
    )
    (tmp_path / "job.yml").write_text(text)
    train = (
        TRAIN.replace("min: 1, max", "min: one, max")
        .replace("command: >-", "comand: >-")
        .replace("type: string", "typ: x", 1)
    )
    (tmp_path / "train.yml").write_text(train)

    with pytest.raises(InvalidJobError) as caught:
        read_plan(tmp_path / "job.yml")

    assert [(p.place.file.name, p.place.line, p.rule) for p in caught.value.problems] == [
        ("job.yml", 4, "type"),
        ("job.yml", 17, "undefined-node"),
        ("job.yml", 19, "type"),
        ("train.yml", 6, "type"),
        ("train.yml", 8, "unknown-key"),
        ("train.yml", 12, "unknown-key"),
    ]


def test_all_mistakes_of_a_sweep_are_reported(tmp_path):
    job = project(
        tmp_path,
        "sweep.yml",
        "type: uniform, min_value: 0.1",
        "type: uniform, min_value: low",
        "sampling_algorithm: random",
        "sampling_algorithm: {type: random, rule: hilbert}",
        "goal: maximize",
        "goal: best",
        "max_total_trials: 4",
        "max_total_trials: 0",
        "{type: bandit, slack_factor: 0.1}",
        "{type: bandits}",
    )
    with pytest.raises(InvalidJobError) as caught:
        read_plan(job)

    assert [(p.place.line, p.rule) for p in caught.value.problems] == [
        (15, "type"),
        (17, "sampling"),
        (18, "objective"),
        (19, "range"),
        (20, "early-termination"),
    ]
