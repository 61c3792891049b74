"""Parallel nodes: mini batches, retries, thresholds, and processes that die or hang."""

import json
from pathlib import Path

import psutil
import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.expressions import parse
from amlocal.reader.parallel import MiniBatchSize
from amlocal.reader.source import InvalidJobError
from amlocal.run.parallel.launch import words
from amlocal.run.parallel.splitting import split

JOB = """\
type: pipeline
inputs:
  size: 2
outputs:
  rows: {type: uri_file}
jobs:
  score:
    type: parallel
    inputs:
      data: {type: uri_folder, path: data}
      word: it's  spaced
    outputs:
      rows: ${{parent.outputs.rows}}
    input_data: ${{inputs.data}}
    mini_batch_size: ${{parent.inputs.size}}
    max_concurrency_per_instance: 2
    retry_settings: {max_retries: 1, timeout: 30}
    task:
      type: run_function
      code: src
      entry_script: score.py
      environment: azureml:any:1
      program_arguments: --word ${{inputs.word}}
      append_row_to: ${{outputs.rows}}
"""

SCRIPT = """\
import argparse
import os
import sys
from pathlib import Path

def init():
    global arguments
    parser = argparse.ArgumentParser()
    parser.add_argument("--word")
    arguments, _ = parser.parse_known_args()

def run(mini_batch):
    return [work(Path(path)) for path in mini_batch]

"""
ECHO = 'def work(path):\n    return f"{path.name} {arguments.word} {path.read_text()}"\n'


@pytest.fixture
def job(write):
    """Make a project of five files; give the job for a script, with pieces of the job replaced."""

    def make(script, *replacements):
        for number in (1, 2, 3, 4):
            write(f"data/{number}.txt", str(number))
        write("data/sub/10.txt", "10")
        write("src/score.py", script)
        text = JOB
        for old, new in zip(replacements[::2], replacements[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        return write("job.yml", text)

    return make


def log_of(record):
    return Path(record.steps["score"].log).read_text()


def summary_of(machine, record):
    return json.loads((machine.home / "jobs" / record.name / "steps" / "score" / "mini_batches.json").read_text())


def test_each_file_is_worked_on_once_and_rows_come_in_order(machine, job):
    record = machine.create(job(SCRIPT + ECHO))

    assert record.status == "Completed", log_of(record)
    names = ["1.txt", "2.txt", "3.txt", "4.txt", "10.txt"]
    rows = [f"{name} it's  spaced {Path(name).stem}" for name in names]
    assert Path(record.outputs["rows"]).read_text().splitlines() == rows
    assert record.steps["score"].kind == "parallel"
    totals = summary_of(machine, record)
    assert (totals["batches"], totals["succeeded"], totals["items"], totals["processed"]) == (3, 3, 5, 5)
    assert "3 of 3 mini batches: 3 succeeded, 0 failed, 0 retries; 5 items: 5 processed, 0 failed" in log_of(record)


def test_init_runs_once_per_process_and_shutdown_at_its_end(machine, job):
    script = """\
import os
from pathlib import Path

def note(what):
    with open(os.environ["METRICS"] + "/calls", "a") as stream:
        stream.write(f"{os.getpid()} {what}\\n")

def init():
    note("init")

def run(mini_batch, context):
    note("run " + context.minibatch_index)
    return mini_batch

def shutdown():
    note("shutdown")
"""
    record = machine.create(job(script, "size: 2", "size: 1"))

    assert record.status == "Completed", log_of(record)
    calls = [line.split(" ", 1) for line in (machine.backend.metrics / "calls").read_text().splitlines()]
    by_process = {}
    for process, call in calls:
        by_process.setdefault(process, []).append(call)
    assert 1 <= len(by_process) <= 2
    for made in by_process.values():
        assert (made[0], made[-1]) == ("init", "shutdown")
        assert all(call.startswith("run ") for call in made[1:-1])
    assert sorted(call for _, call in calls if call.startswith("run")) == [f"run {number}" for number in range(5)]


def test_failed_mini_batch_is_retried_and_then_counts(machine, job):
    flaky = """\
def work(path):
    mark = Path(os.environ["METRICS"], path.stem)
    if path.stem == "3" or (path.stem == "1" and not mark.exists()):
        mark.touch()
        raise ValueError(f"cannot read {path.stem}")
    return path.stem
"""
    record = machine.create(job(SCRIPT + flaky, "size: 2", "size: 1"))

    assert record.status == "Completed", log_of(record)
    assert Path(record.outputs["rows"]).read_text().split() == ["1", "2", "4", "10"]
    totals = summary_of(machine, record)
    assert (totals["succeeded"], totals["failed"], totals["retried"], totals["failed_items"]) == (4, 1, 2, 1)
    data = job(SCRIPT).parent / "data"
    [first, last] = [line for line in log_of(record).splitlines() if line.startswith("mini batch 2 failed")]
    error = "ValueError: cannot read 3 (score.py:19)"
    assert first == f"mini batch 2 failed (attempt 1 of 2): {error}; files: {data}/3.txt"
    assert last == f"mini batch 2 failed (attempt 2 of 2): {error}; files: {data}/3.txt"
    errors = Path(record.steps["score"].log).parent / "user" / "error"
    assert any("Traceback" in path.read_text() for path in errors.iterdir())


FAILING = 'def work(path):\n    if path.stem in "34":\n        raise ValueError(path.stem)\n    return path.stem\n'


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("mini_batch_error_threshold: 2", None),
        ("mini_batch_error_threshold: 1", "2 failed mini batches, mini_batch_error_threshold is 1"),
        ("error_threshold: 0", "1 failed items, error_threshold is 0"),
        ("--error_threshold 1", "2 failed items, error_threshold is 1"),
        ("--allowed_failed_percent 40", None),
        ("--allowed_failed_percent 39", "2 of 5 mini batches failed, allowed_failed_percent is 39"),
    ],
)
def test_thresholds(machine, job, setting, error):
    old = "--word" if setting.startswith("--") else "    input_data"
    new = f"{setting} --word" if setting.startswith("--") else f"    {setting}\n    input_data"
    path = job(SCRIPT + FAILING, "size: 2", "size: 1", "max_retries: 1", "max_retries: 0", old, new)
    step = machine.create(path, "jobs.score.max_concurrency_per_instance=1").steps["score"]

    assert step.status == ("Completed" if error is None else "Failed")
    assert (step.error or "").split("; last")[0] == (error or "")


def test_fewer_rows_than_items_is_a_failure(machine, job):
    script = "def init(): pass\ndef run(mini_batch): return mini_batch[:1]\n"
    record = machine.create(job(script, "size: 2", "size: 5", "max_retries: 1", "max_retries: 0"))

    assert record.steps["score"].error == "no mini batch succeeded"
    assert "run() returned 1 of 5 items" in log_of(record)
    assert summary_of(machine, record)["failed_items"] == 4


def test_process_that_dies_is_a_failed_mini_batch_and_is_replaced(machine, job):
    deadly = """\
def work(path):
    if path.stem == "2":
        os._exit(7)
    return path.stem
"""
    record = machine.create(job(SCRIPT + deadly, "size: 2", "size: 1"))

    assert record.status == "Completed", log_of(record)
    assert Path(record.outputs["rows"]).read_text().split() == ["1", "3", "4", "10"]
    assert "its process died during run() (exit code 7)" in log_of(record)


def test_hanging_run_is_ended_and_its_process_replaced(machine, job):
    hanging = """\
def work(path):
    if path.stem == "1":
        print(os.getpid(), file=open(os.environ["METRICS"] + "/pid", "w"))
        import time
        time.sleep(60)
    return path.stem
"""
    path = job(SCRIPT + hanging, "size: 2", "size: 1", "max_retries: 1, timeout: 30", "max_retries: 0, timeout: 1")
    record = machine.create(path)

    assert record.status == "Completed", log_of(record)
    assert Path(record.outputs["rows"]).read_text().split() == ["2", "3", "4", "10"]
    assert "mini batch 0 failed (attempt 1 of 1): run() took more than 1 s" in log_of(record)
    assert not psutil.pid_exists(int((machine.backend.metrics / "pid").read_text()))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("def init(): raise OSError('no model')\ndef run(b): return b\n", "OSError: no model (score.py:1)"),
        ("def run(b): return b\n", "AttributeError: the script has no function init()"),
        ("import none_such\ndef run(b): return b\n", "ModuleNotFoundError: No module named 'none_such' (score.py:1)"),
        ("print 'x'\n", "SyntaxError: "),
        (
            "import argparse\ndef init(): argparse.ArgumentParser().parse_args()\ndef run(b): return b\n",
            "SystemExit: 2; Azure ML adds arguments of its own, so parse them with parse_known_args",
        ),
        (
            "def init(): pass\ndef run(b): return b\ndef shutdown(): raise ValueError('late')\n",
            "ValueError: late (score.py:3)",
        ),
    ],
)
def test_script_that_cannot_start_or_end_fails_the_step(machine, job, script, error):
    step = machine.create(job(script)).steps["score"]

    assert step.status == "Failed"
    assert step.error.startswith(f"score.py: {error}")


@pytest.mark.parametrize(
    ("returned", "found"), [("None", "None"), ("'text'", "a str"), ("{}", "a dict"), ("3", "a int")]
)
def test_what_run_may_not_return(machine, job, returned, found):
    record = machine.create(
        job(f"def init(): pass\ndef run(b): return {returned}\n", "max_retries: 1", "max_retries: 0")
    )

    assert record.steps["score"].error == "no mini batch succeeded"
    assert f"run() returned {found}; expected a list, tuple, array or data frame" in log_of(record)


def test_logger_of_the_entry_script_and_modules_beside_it(machine, job, write):
    script = """\
from azureml_user.parallel_run import EntryScript
import beside

def init():
    EntryScript().logger.info("prepared")
    EntryScript().logger.debug("hidden")
    print("on standard output")

def run(mini_batch):
    return [beside.NAME] * len(mini_batch)
"""
    write("src/beside.py", "NAME = 'beside'\n")
    record = machine.create(job(script))

    assert set(Path(record.outputs["rows"]).read_text().split()) == {"beside"}
    user = Path(record.steps["score"].log).parent / "user"
    assert (user / "entry_script_log" / "process000.log.txt").read_text().endswith("INFO prepared\n")
    assert (user / "stdout" / "process000.stdout.txt").read_text() == "on standard output\n"


def test_folder_output_gets_the_file_azure_names(machine, job):
    record = machine.create(job(SCRIPT + ECHO, "rows: {type: uri_file}", "rows: {type: uri_folder}"))
    assert len((Path(record.outputs["rows"]) / "parallel_run_step.txt").read_text().splitlines()) == 5

    path = job(
        SCRIPT + ECHO,
        "rows: {type: uri_file}",
        "rows: {type: uri_folder}",
        "{{outputs.rows}}",
        "{{outputs.rows}}/a/b.csv",
    )
    record = machine.create(path)
    assert len((Path(record.outputs["rows"]) / "a" / "b.csv").read_text().splitlines()) == 5


TABLE = """\
paths:
  - pattern: ./*.csv
transformations:
  - read_delimited: {delimiter: ",", encoding: utf8, header: all_files_same_headers}
  - drop_columns: [note]
"""
TABLE_SCRIPT = """\
import pandas

def init():
    pass

def run(mini_batch):
    assert isinstance(mini_batch, pandas.DataFrame)
    assert list(mini_batch.index) == list(range(len(mini_batch)))
    return mini_batch.assign(double=mini_batch.x * 2, batch=len(mini_batch))
"""


def test_tables_are_split_by_size_and_frames_appended(machine, job, write):
    # 12 bytes fit into a mini batch; b.csv has 23.
    write("data/MLTable", TABLE)
    write("data/a.csv", "x,note\n7,n\n")
    write("data/b.csv", "x,note\n1,n\n2,n\n3,n\n4,n\n")
    table = ("type: uri_folder, path", "type: mltable, path", "size: 2", "size: 12b".replace("12b", "12"))
    record = machine.create(job(TABLE_SCRIPT, *table, "--word", "--append_row_dataframe_header True --word"))

    assert record.status == "Completed", log_of(record)
    rows = Path(record.outputs["rows"]).read_text().splitlines()
    assert rows == ["x double batch", "7 14 1", "1 2 2", "2 4 2", "3 6 2", "4 8 2"]


def test_mltable_without_a_reader_is_a_list_of_files(machine, job, write):
    write("data/MLTable", "type: mltable\npaths:\n  - file: ./3.txt\n  - folder: ./sub\n")
    record = machine.create(job(SCRIPT + ECHO, "type: uri_folder, path", "type: mltable, path"))

    assert [row.split()[0] for row in Path(record.outputs["rows"]).read_text().splitlines()] == ["3.txt", "10.txt"]


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("paths:\n  - file: ./none.csv\n", "MLTable:2: missing-data: file ./none.csv matches no file"),
        ("paths:\n  - file: ./1.txt\ntransformations:\n  - filter: x\n", "MLTable:4: not-on-this-machine"),
        ("paths:\n  - file: wasbs://a/b\n", "MLTable:2: not-on-this-machine"),
        (None, "MLTable:1: missing-file: no such file"),
    ],
)
def test_table_that_cannot_be_read_is_refused(machine, job, write, table, error):
    path = job(SCRIPT + ECHO, "type: uri_folder, path", "type: mltable, path")
    if table is not None:
        write("data/MLTable", table)

    with pytest.raises(InvalidJobError, match=error):
        machine.create(path)


def test_table_that_another_step_wrote_wrongly_fails_the_step(machine, job):
    make = """\
jobs:
  make:
    type: command
    environment: azureml:any:1
    command: "echo 'paths: [{file: ./none}]' > ${{outputs.table}}/MLTable"
    outputs: {table: {type: mltable}}
"""
    data = ("data: {type: uri_folder, path: data}", "data: ${{parent.jobs.make.outputs.table}}")
    record = machine.create(job(SCRIPT + ECHO, *data, "jobs:\n", make))

    assert record.steps["make"].status == "Completed"
    assert "MLTable:1: missing-data: file ./none matches no file" in record.steps["score"].error


def test_result_is_reused_until_a_setting_that_matters_changes(machine, job):
    path = job(SCRIPT + ECHO)
    first = machine.create(path)

    assert machine.create(path).steps["score"].reused_from == first.name
    more = machine.create(path, "jobs.score.max_concurrency_per_instance=9")
    assert more.steps["score"].reused_from == first.name
    assert next(name for name in more.ignored if "capped" in name).startswith("9 processes of score, capped at ")
    assert machine.create(path, "inputs.size=1").steps["score"].reason == "mini batches changed"


def test_rows_go_on_to_the_next_step_from_a_component_in_a_nested_pipeline(machine, job, write):
    job(SCRIPT + ECHO)
    write(
        "score.yml",
        """\
type: parallel
name: score
inputs: {data: {type: uri_folder}, word: {type: string, default: a}}
outputs: {rows: {type: uri_folder}}
input_data: ${{inputs.data}}
mini_batch_size: "3"
max_concurrency_per_instance: 1
error_threshold: 0
task:
  type: run_function
  code: ./src
  entry_script: score.py
  environment: azureml:any:1
  program_arguments: --word ${{inputs.word}} $[[--more ${{inputs.word}}]]
  append_row_to: ${{outputs.rows}}
""",
    )
    write(
        "inner.yml",
        """\
type: pipeline
inputs: {data: {type: uri_folder}}
outputs: {rows: {type: uri_folder}}
jobs:
  score:
    type: parallel
    component: ./score.yml
    inputs: {data: "${{parent.inputs.data}}"}
    mini_batch_size: 4
    outputs: {rows: "${{parent.outputs.rows}}"}
""",
    )
    outer = write(
        "outer.yml",
        """\
type: pipeline
inputs: {data: {type: uri_folder, path: data}}
outputs: {count: {type: uri_folder}}
jobs:
  inner:
    type: pipeline
    component: ./inner.yml
    inputs: {data: "${{parent.inputs.data}}"}
  count:
    type: command
    environment: azureml:any:1
    command: wc -l < ${{inputs.rows}}/parallel_run_step.txt > ${{outputs.count}}/n
    inputs: {rows: "${{parent.jobs.inner.outputs.rows}}"}
    outputs: {count: "${{parent.outputs.count}}"}
""",
    )
    record = machine.create(outer)

    assert record.status == "Completed", record.steps
    assert (Path(record.outputs["count"]) / "n").read_text().strip() == "5"
    assert "2 of 2 mini batches" in Path(record.steps["inner.score"].log).read_text()


def test_timeout_of_the_job_or_a_cancel_leaves_no_process(machine, job):
    busy = """\
def work(path):
    print(os.getpid(), file=open(os.environ["METRICS"] + "/pid", "a"), flush=True)
    if path.stem == "1":
        import time
        time.sleep(60)
    return path.stem
"""
    other = """\
  other:
    type: command
    environment: azureml:any:1
    command: until [ -e $METRICS/pid ]; do sleep 0.02; done; exit 1
"""
    path = job(SCRIPT + busy)
    path.write_text(path.read_text() + other)
    record = machine.create(path)

    assert record.steps["score"].status == "Canceled"
    pids = {int(pid) for pid in (machine.backend.metrics / "pid").read_text().split()}
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids)


def test_files_are_grouped_by_number_or_by_size(tmp_path):
    for name, length in (("a", 4), ("b", 4), ("c", 20), ("d", 1)):
        (tmp_path / name).write_text("x" * length)

    def grouped(size):
        return ["".join(Path(file).name for file in batch["files"]) for batch in split(tmp_path, None, size)]

    assert grouped(None) == ["a", "b", "c", "d"]
    assert grouped(MiniBatchSize(3, stated_in_bytes=False)) == ["abc", "d"]
    assert grouped(MiniBatchSize(10, stated_in_bytes=True)) == ["ab", "c", "d"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(AmlocalError, match="holds no files"):
        split(tmp_path / "empty", "uri_folder", None)


def test_size_with_a_unit_means_a_number_of_files_to_azure_which_is_said(machine, job):
    record = machine.create(job(SCRIPT + ECHO), "inputs.size=1kb")

    assert "1 of 1 mini batches" in log_of(record)
    assert list(record.notes) == ["score: mini_batch_size groups files by size here; Azure ML would take 1024 files"]


def test_arguments_are_split_as_a_shell_does_but_values_are_not():
    text = """--a ${{inputs.a}} --b 'x ${{inputs.b}}' $[[--c ${{inputs.c}}]]\n --d=${{inputs.a}}/y --e ""\n"""
    values = {"a": "it's a path", "b": '"quoted"'}

    found = words(parse(text), lambda reference: values.get(reference.name))

    assert found == ["--a", "it's a path", "--b", 'x "quoted"', "--d=it's a path/y", "--e", ""]
    with pytest.raises(AmlocalError, match="program_arguments: No closing quotation"):
        words(parse("--a 'b"), lambda reference: None)
