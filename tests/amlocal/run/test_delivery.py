"""Outputs in datastores and as registered assets, and registered assets as inputs; all without a daemon."""

import dataclasses

import pytest

from amlocal.errors import AmlocalError
from amlocal.reader.addresses import AssetReference, DatastorePath
from amlocal.reader.source import InvalidJobError
from amlocal.workspace.registry import NewVersion, Registry

PIPELINE = """\
type: pipeline
settings: {default_datastore: azureml:lake}
inputs:
  word: one
outputs:
  words: {type: uri_folder, name: words, path: "azureml://datastores/lake/paths/jobs/${{name}}/${{output_name}}/"}
  model: {type: mlflow_model}
jobs:
  write:
    inputs: {word: "${{parent.inputs.word}}"}
    outputs:
      folder: ${{parent.outputs.words}}
      file: {type: uri_file, name: one-file, version: v1}
      note: {type: uri_folder, path: "azureml://datastores/${{default_datastore}}/paths/notes/${{output_name}}"}
    command: >-
      mkdir ${{outputs.folder}}/in && echo ${{inputs.word}} | tee ${{outputs.folder}}/in/word.txt
      ${{outputs.file}} ${{outputs.note}}/note.txt
    environment: azureml:any:1
  train:
    inputs: {words: "${{parent.jobs.write.outputs.folder}}"}
    outputs: {model: {type: mlflow_model, name: speller}}
    command: touch ${{outputs.model}}/MLmodel
    environment: azureml:any:1
"""
READ = """\
type: command
inputs:
  words: {type: uri_folder, path: azureml:words@latest}
  file: {type: uri_file, path: azureml:one-file:v1}
  model: {type: mlflow_model, path: azureml:speller:1}
  note: {type: uri_file, path: azureml://datastores/lake/paths/notes/note/note.txt}
outputs:
  out: {type: uri_folder}
command: (cat ${{inputs.words}}/in/* ${{inputs.file}} ${{inputs.note}}; ls ${{inputs.model}}) > ${{outputs.out}}/all
environment: azureml:any:1
"""


def registered(record):
    return {f"{step.name}.{name}": asset for step in record.steps.values() for name, asset in step.registered.items()}


def errors(record):
    return {step.name: step.error for step in record.steps.values()}


@pytest.fixture
def registry(machine):
    return Registry(machine.home)


@pytest.fixture
def job(write):
    return write("job.yml", PIPELINE)


def test_outputs_are_registered_and_written_and_can_be_read_by_name(machine, job, write, registry):
    record = machine.create(job)

    assert errors(record) == {"write": None, "train": None}
    assert registered(record) == {
        "write.file": "data one-file:v1",
        "write.words": "data words:1",
        "train.model": "model speller:1",
    }
    lake = machine.home / "datastores" / "lake"
    assert (lake / "jobs" / record.name / "words" / "in" / "word.txt").read_text() == "one\n"
    assert (lake / "notes" / "note" / "note.txt").read_text() == "one\n"
    found = registry.data(AssetReference("words", "1"))
    assert found.uri == f"azureml://datastores/lake/paths/jobs/{record.name}/words"

    reader = machine.create(write("read.yml", READ))
    assert (machine.home / "jobs" / reader.name / "outputs" / "out" / "all").read_text() == "one\none\none\nMLmodel\n"


def test_a_reused_step_registers_nothing_twice(machine, job, registry):
    first = machine.create(job)
    second = machine.create(job)

    assert {step.reused_from for step in second.steps.values()} == {first.name}
    assert registered(second) == registered(first)
    assert registry.data(AssetReference("words", label="latest")).version == "1"


def test_a_reused_step_registers_what_has_become_named_since(machine, job, write, registry):
    write("job.yml", PIPELINE.replace("name: words, ", "").replace(", name: speller", ""))
    first = machine.create(job)
    write("job.yml", PIPELINE)
    second = machine.create(job)

    assert set(registered(first)) == {"write.file"}
    assert {step.reused_from for step in second.steps.values()} == {first.name}
    assert registered(second) == {**registered(first), "write.words": "data words:1", "train.model": "model speller:1"}


def test_a_new_run_makes_a_new_version_and_what_reads_it_runs_again(machine, job, write):
    machine.create(job)
    reading = write("read.yml", READ)
    machine.create(reading)
    job.write_text(PIPELINE.replace("word: one", "word: two").replace("version: v1", "version: v2"))
    record = machine.create(job)
    again = machine.create(reading)

    assert registered(record)["write.words"] == "data words:2"
    assert again.steps["command"].reason == "input note changed, input words changed"


def test_a_version_is_never_changed(machine, job, write, registry):
    machine.create(job)
    job.write_text(PIPELINE.replace("word: one", "word: two"))
    record = machine.create(job)

    assert record.steps["write"].status == "Failed"
    message = "output 'file': data asset one-file:v1 exists and has other content; give another version"
    assert message in record.steps["write"].error
    assert "job.yml:13: " in record.steps["write"].error
    assert registry.data(AssetReference("one-file", "v1")).path.read_text() == "one\n"
    # The step itself was fine: with another version it is reused, not run again.
    job.write_text(PIPELINE.replace("word: one", "word: two").replace("version: v1", "version: v2"))
    repaired = machine.create(job)
    assert repaired.steps["write"].reused_from == record.name
    assert registered(repaired)["write.file"] == "data one-file:v2"


def test_an_output_that_is_not_written_cannot_be_registered(machine, job):
    job.write_text(PIPELINE.replace("      ${{outputs.file}} ", "      "))
    record = machine.create(job)

    assert "output 'file': it was not written" in record.steps["write"].error


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: one-file, ", "", "job.yml:13: required: output 'file' has a version and no 'name'"),
        ("name: one-file", "name: one file", "job.yml:13: name: output 'file': name 'one file' is none"),
        ("azureml://datastores/lake/paths/jobs", "azureml://lake/jobs", "job.yml:6: address: azureml://lake/jobs"),
    ],
)
def test_mistakes_are_found_before_anything_runs(machine, job, old, new, problem):
    job.write_text(PIPELINE.replace(old, new))

    with pytest.raises(InvalidJobError) as caught:
        machine.create(job)
    assert problem in str(caught.value)


def test_a_component_registers_nothing(machine, write):
    component = "type: command\ncommand: echo\nenvironment: azureml:a:1\noutputs:\n  x: {type: uri_folder, name: y}\n"
    write("component.yml", component)
    job = write("job.yml", "type: pipeline\njobs:\n  a: {component: ./component.yml}\n")

    with pytest.raises(InvalidJobError, match=r"component\.yml:5: unknown-key: output 'x' of a component takes no"):
        machine.create(job)


def test_a_path_outside_datastores_is_ignored_by_name(machine, job):
    job.write_text(PIPELINE.replace("azureml://datastores/${{default_datastore}}/paths", "abfss://c@a.net"))
    record = machine.create(job)

    assert [name for name in record.ignored if name.startswith("outputs path")] == [
        "outputs path abfss://c@a.net/notes/${{output_name}}"
    ]


def version(name, address, **changes):
    new = NewVersion(name, None, "uri_folder", address, "digest", "job")
    return dataclasses.replace(new, **changes)


def test_versions_count_by_number_and_latest_is_the_one_created_last(registry, tmp_path):
    address = DatastorePath("workspaceblobstore", "x")
    registry.write(tmp_path / "x", address) if (tmp_path / "x").mkdir() else None
    stated = [registry.register(version("d", address, version=text, content=text)) for text in ("9", "10", "2")]
    following = registry.register(version("d", address))

    assert [*stated, following] == ["9", "10", "2", "11"]
    assert registry.data(AssetReference("d", label="latest")).version == "11"
    with pytest.raises(AmlocalError, match="data asset d:9 exists and has other content"):
        registry.register(version("d", address, version="9"))


def test_writing_into_a_folder_replaces_files_of_the_same_name_only(registry, machine, tmp_path):
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in" / "a").write_text("new")
    there = machine.home / "datastores" / "lake" / "deep"
    (there / "in").mkdir(parents=True)
    (there / "in" / "a").write_text("old")
    (there / "in" / "b").write_text("kept")

    registry.write(source, DatastorePath("lake", "deep"))

    assert {path.name: path.read_text() for path in (there / "in").iterdir()} == {"a": "new", "b": "kept"}
    (source / "in" / "a").write_text("edited")
    assert (there / "in" / "a").read_text() == "new"
    assert list((machine.home / "datastores" / ".staging").iterdir()) == []
    with pytest.raises(AmlocalError, match="is no path inside datastore lake"):
        registry.write(source, DatastorePath("lake", "../out"))
