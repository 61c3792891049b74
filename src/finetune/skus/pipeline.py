r"""Write the pipeline that trains on each compute of a list and compares the runs.

Pipelines have no loops, so the list is a file of its own and the pipeline is made from it.

Example:
    python -m finetune.skus.pipeline --list pipelines/skus/local.yml --pipeline pipelines/compare_skus.yml
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finetune.errors import InputError
from finetune.files import write_text
from finetune.skus.listing import ComputeList, ListedRun, read_compute_list
from finetune.stage import parse_arguments, run_stage

_HEAD = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
# Written by `make skus` from {list_path}: change that file, not this one.
# The same training steps on each compute of the list, then a comparison of time, scaling and cost.
# Here: make compare-skus. On Azure ML: az ml job create --file {pipeline_path}
type: pipeline
display_name: compare-skus
experiment_name: compare-skus
description: Train on several computes and compare seconds, scaling and cost.
settings:
  default_compute: azureml:cpu-cluster
  # One compute's failure does not end the others' runs, which a later job reuses.
  continue_on_step_failure: true

# No input is empty, 0 or false: the service takes such values for missing ones.
inputs:
  data:
    type: uri_folder
    path: {root}/data/customer_messages
  task: text-classification
  text_column: message
  text_pair_column: text_pair
  label_column: intent
  label_mapping: as-is
  checkpoint: sentence-transformers/all-MiniLM-L6-v2
  # Optimiser steps of each run. Few make start-up weigh more than it will in a whole training.
  max_steps: 50
  # Rows in an optimiser step, over all processes: the same work on each compute.
  global_batch_size: 32
  # Rows that one process computes at a time, at most.
  per_device_train_batch_size: 32
  skus:
    type: uri_file
    path: {list_from_pipeline}

outputs:
  comparison:
    type: uri_folder

jobs:
  prep:
    type: command
    component: {root}/components/prep/component.yml
    inputs:
      data: ${{{{parent.inputs.data}}}}
      task: ${{{{parent.inputs.task}}}}
      text_column: ${{{{parent.inputs.text_column}}}}
      text_pair_column: ${{{{parent.inputs.text_pair_column}}}}
      label_column: ${{{{parent.inputs.label_column}}}}
      label_mapping: ${{{{parent.inputs.label_mapping}}}}
      checkpoint: ${{{{parent.inputs.checkpoint}}}}
    outputs:
      dataset:
        type: uri_folder
"""
_RUN = """
  {node}:
    type: command
    component: {root}/components/train/component.yml
    compute: {compute}
    distribution:
      type: pytorch
      process_count_per_instance: {process_count_per_instance}
    resources:
      instance_count: {instance_count}
{variables}    inputs:
      dataset: ${{{{parent.jobs.prep.outputs.dataset}}}}
      checkpoint: ${{{{parent.inputs.checkpoint}}}}
      max_steps: ${{{{parent.inputs.max_steps}}}}
      global_batch_size: ${{{{parent.inputs.global_batch_size}}}}
      per_device_train_batch_size: ${{{{parent.inputs.per_device_train_batch_size}}}}
      precision: {precision}
      seed: {seed}
    outputs:
      model:
        type: mlflow_model
      checkpoints:
        type: uri_folder
"""
_VARIABLES = """\
    environment_variables:
      OMP_NUM_THREADS: "{threads}"
      MKL_NUM_THREADS: "{threads}"
"""
_COMPARE = """
  # prices and max_minutes are given with --set: see docs/skus.md.
  compare:
    type: command
    component: {root}/components/compare/component.yml
    inputs:
      skus: ${{{{parent.inputs.skus}}}}
{runs}
    outputs:
      comparison: ${{{{parent.outputs.comparison}}}}
"""


@dataclass(frozen=True)
class PipelineArguments:
    """The command line."""

    list: str = field(metadata={"help": "list of computes"})
    pipeline: str = field(metadata={"help": "pipeline file to write"})


def main(argv: Sequence[str]) -> None:
    """Write the pipeline.

    Raises:
        InputError: the list cannot be used, or the working folder is not the repository's root.
    """
    arguments = parse_arguments(PipelineArguments, argv, __doc__)
    list_path, pipeline = Path(arguments.list), Path(arguments.pipeline)
    root = Path.cwd()
    if not (root / "components" / "compare" / "component.yml").is_file():
        raise InputError(f"{root}: holds no components/compare/component.yml; run this in the repository's root")
    write_text(pipeline, render_pipeline(read_compute_list(list_path), list_path, pipeline, root))


def render_pipeline(listed: ComputeList, list_path: Path, pipeline: Path, root: Path) -> str:
    """Return the pipeline's YAML.

    Args:
        listed: the computes.
        list_path: where the list lies.
        pipeline: where the pipeline will lie; paths in it are relative to its folder.
        root: the repository's root.
    """
    folder = pipeline.resolve().parent
    up = Path(os.path.relpath(root.resolve(), folder)).as_posix()
    head = _HEAD.format(
        root=up,
        list_path=_shown(list_path, root),
        pipeline_path=_shown(pipeline, root),
        list_from_pipeline=Path(os.path.relpath(list_path.resolve(), folder)).as_posix(),
    )
    inputs = "\n".join(
        f"      run_{number}: ${{{{parent.jobs.{run.node}.outputs.model}}}}"
        for number, run in enumerate(listed.runs, 1)
    )
    runs = "".join(_run(run, up) for run in listed.runs)
    return head + runs + _COMPARE.format(root=up, runs=inputs)


def _run(run: ListedRun, root: str) -> str:
    each = run.compute
    return _RUN.format(
        node=run.node,
        root=root,
        compute=each.compute,
        process_count_per_instance=each.process_count_per_instance,
        instance_count=each.instance_count,
        variables="" if each.threads is None else _VARIABLES.format(threads=each.threads),
        precision=each.precision,
        seed=run.seed,
    )


def _shown(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()


if __name__ == "__main__":
    run_stage(main)
