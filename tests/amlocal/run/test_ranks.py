"""Commands that run as several processes."""

import asyncio
import json
import os
import time
from pathlib import Path

import psutil
import pytest

from amlocal.reader.distribution import Processes
from amlocal.run.ranks import ranks_of, run_ranks


def command_job(command, more):
    lines = "\n".join(f"  {line}" for line in command.splitlines())
    head = "type: command\nenvironment: azureml:any:1\noutputs: {out: {type: uri_folder}}\n"
    return f"{head}{more}command: |\n{lines}\n"


def variables(machine, job, *names):
    """Run a job whose processes each write one file; give what each wrote."""
    record = machine.create(job)
    assert record.status == "Completed", [step.error for step in record.steps.values()]
    folder = Path(record.outputs["out"])
    return record, {path.name: path.read_text().split() for path in sorted(folder.iterdir())}


def test_pytorch_gives_each_process_its_rank(machine, write):
    names = "$RANK $WORLD_SIZE $LOCAL_RANK $NODE_RANK $MASTER_ADDR $MASTER_PORT"
    command = f"echo {names} > ${{{{outputs.out}}}}/$RANK\necho I am $RANK"
    more = "distribution: {type: PyTorch, process_count_per_instance: '2'}\nresources: {instance_count: 2}\n"
    record, found = variables(machine, write("job.yml", command_job(command, more)))

    port = found["0"][5]
    assert int(port) > 0
    assert found == {
        "0": ["0", "4", "0", "0", "127.0.0.1", port],
        "1": ["1", "4", "1", "0", "127.0.0.1", port],
        "2": ["2", "4", "0", "1", "127.0.0.1", port],
        "3": ["3", "4", "1", "1", "127.0.0.1", port],
    }
    log = Path(record.steps["command"].log)
    assert log.read_text() == "I am 0\n"
    assert [(log.parent / f"std_log_process_{rank}.txt").read_text() for rank in range(4)] == [
        f"I am {rank}\n" for rank in range(4)
    ]


def test_mpi_gives_each_process_its_rank(machine, write):
    rank = "OMPI_COMM_WORLD_RANK"
    names = " ".join(f"$OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
    command = f"echo {names} $AZ_BATCH_MASTER_NODE $AZ_BATCHAI_MPI_MASTER_NODE > ${{{{outputs.out}}}}/${rank}"
    more = "distribution: {type: mpi, process_count_per_instance: 1}\nresources: {instance_count: 2}\n"
    _, found = variables(machine, write("job.yml", command_job(command, more)))

    node = found["0"][4]
    assert found == {str(rank): [str(rank), "2", "0", "1", node, "127.0.0.1"] for rank in range(2)}
    assert node.startswith("127.0.0.1:")


def test_tensorflow_gives_each_task_the_cluster(machine, write):
    # The parameter server serves until the workers are done, as TensorFlow's own do.
    command = (
        'kind=$(echo "$TF_CONFIG" | sed \'s/.*"type": "\\([a-z]*\\)", "index": \\([0-9]\\).*/\\1-\\2/\')\n'
        'echo "$TF_CONFIG" > ${{outputs.out}}/$kind\n'
        "if [ $kind = ps-0 ]; then sleep 60; else until [ -e ${{outputs.out}}/ps-0 ]; do sleep 0.02; done; fi"
    )
    more = "distribution: {type: tensorflow, parameter_server_count: 1}\nresources: {instance_count: 2}\n"
    _, found = variables(machine, write("job.yml", command_job(command, more)))

    configs = {name: json.loads(" ".join(words)) for name, words in found.items()}
    assert sorted(configs) == ["ps-0", "worker-0", "worker-1"]
    cluster = configs["worker-1"]["cluster"]
    assert configs["worker-1"] == {"cluster": cluster, "task": {"type": "worker", "index": 1}, "environment": "cloud"}
    assert configs["ps-0"] == {"cluster": cluster, "task": {"type": "ps", "index": 0}, "environment": "cloud"}
    assert len({*cluster["worker"], *cluster["ps"]}) == 3


def test_failing_rank_ends_the_step_and_is_named(machine, write):
    command = (
        "echo $RANK starts\n"
        "if [ $RANK = 2 ]; then until [ -e ready ]; do sleep 0.02; done; echo the reason; exit 3; fi\n"
        "if [ $RANK = 0 ]; then trap 'touch ended; exit' TERM; touch ready; sleep 60 & wait; fi\nsleep 60"
    )
    more = "distribution: {type: pytorch, process_count_per_instance: 3}\n"
    record = machine.create(write("job.yml", command_job(command, more)))

    step = record.steps["command"]
    assert (step.status, step.exit_code, step.error) == ("Failed", 3, "rank 2 of 3: exit code 3")
    assert Path(step.log).read_text().splitlines() == ["2 starts", "the reason"]
    assert step.ended - step.started < 10
    assert (machine.home / "jobs" / record.name / "steps" / "command" / "snapshot" / "ended").exists()


def test_timeout_ends_all_ranks(machine, write):
    more = "distribution: {type: mpi, process_count_per_instance: 2}\nlimits: {timeout: 1}\n"
    record = machine.create(write("job.yml", command_job("echo $$ >> $METRICS/pids; sleep 60", more)))

    assert record.steps["command"].error == "ended after its timeout of 1 s"
    pids = (machine.home.parent / "metrics" / "pids").read_text().split()
    assert len(pids) == 2
    assert not any(psutil.pid_exists(int(pid)) for pid in pids)


def test_cancelling_ends_all_ranks(tmp_path):
    told = []

    async def canceled():
        ranks = [(rank, dict(os.environ)) for rank in ranks_of(Processes("mpi", 2, 1))]
        command = "trap 'echo bye; exit 0' TERM; echo $$ >> pids; while :; do sleep 0.05; done"
        task = asyncio.create_task(run_ranks(command, tmp_path, ranks, tmp_path / "std_log.txt", None, told.append))
        deadline = time.monotonic() + 10
        pids = tmp_path / "pids"
        while not pids.exists() or len(pids.read_text().split()) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(canceled())
    for rank in range(2):
        assert (tmp_path / f"std_log_process_{rank}.txt").read_text().endswith("bye\n")
    assert not any(psutil.pid_exists(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    assert told[0].cpu_seconds > 0


def test_counts_may_come_from_inputs_and_are_part_of_the_fingerprint(machine, write):
    write(
        "train.yml",
        """\
type: command
name: train
environment: azureml:any:1
inputs: {nodes: {type: integer}}
outputs: {out: {type: uri_folder}}
distribution: {type: pytorch, process_count_per_instance: 1}
command: echo $OMP_NUM_THREADS > ${{outputs.out}}/$RANK-of-$WORLD_SIZE
""",
    )
    job = write(
        "job.yml",
        """\
type: pipeline
inputs: {nodes: 2, seconds: 50}
outputs: {out: {type: uri_folder}}
jobs:
  train:
    type: command
    component: ./train.yml
    inputs: {nodes: 1}
    resources: {instance_count: "${{parent.inputs.nodes}}"}
    limits: {timeout: "${{parent.inputs.seconds}}"}
    outputs: {out: "${{parent.outputs.out}}"}
""",
    )

    def names(record):
        return sorted(path.name for path in Path(record.outputs["out"]).iterdir())

    first = machine.create(job)
    assert names(first) == ["0-of-2", "1-of-2"]
    again = machine.create(job)
    assert again.steps["train"].reused_from == first.name
    wider = machine.create(job, "inputs.nodes=9")
    assert wider.steps["train"].reason == "distribution changed"
    assert len(names(wider)) == 9
    [(note, place)] = wider.notes.items()
    assert note.startswith("train runs 9 processes on ")
    assert place.endswith("job.yml:5")


def test_trials_of_a_sweep_are_distributed(machine, write):
    job = write(
        "job.yml",
        """\
type: pipeline
outputs: {best: {type: uri_folder}}
jobs:
  tune:
    type: sweep
    trial:
      type: command
      environment: azureml:any:1
      inputs: {x: {type: integer}}
      outputs: {out: {type: uri_folder}}
      distribution: {type: pytorch, process_count_per_instance: 2}
      command: >-
        if [ $RANK = 0 ]; then echo ${{inputs.x}} >> $METRICS/$MLFLOW_RUN_ID.score;
        elif [ ${{inputs.x}} = 2 ]; then echo no luck; exit 4; fi;
        echo ${{inputs.x}} > ${{outputs.out}}/$RANK
    search_space: {x: {type: choice, values: [1, 2]}}
    sampling_algorithm: grid
    objective: {goal: maximize, primary_metric: score}
    limits: {max_total_trials: 2, max_concurrent_trials: 1}
    outputs: {out: "${{parent.outputs.best}}"}
""",
    )
    record = machine.create(job)

    trials = record.steps["tune"].trials
    assert [trial.status for trial in trials.values()] == ["Completed", "Failed"]
    assert trials[1].reason == "rank 1 of 2: exit code 4: no luck"
    assert [path.read_text() for path in sorted(Path(record.outputs["best"]).iterdir())] == ["1\n", "1\n"]


def test_torch_processes_find_each_other(machine, write):
    write(
        "src/reduce.py",
        """\
import pathlib
import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
total = torch.tensor([dist.get_rank() + 1])
dist.all_reduce(total)
pathlib.Path(sys.argv[1], str(dist.get_rank())).write_text(f"{total.item()} of {dist.get_world_size()}")
dist.destroy_process_group()
""",
    )
    more = "code: src\ndistribution: {type: pytorch, process_count_per_instance: 2}\n"
    _, found = variables(machine, write("job.yml", command_job("python reduce.py ${{outputs.out}}", more)))

    assert found == {"0": ["3", "of", "2"], "1": ["3", "of", "2"]}


def test_several_instances_mean_nothing_to_a_command_that_is_not_distributed(machine, write):
    record = machine.create(write("job.yml", command_job("true", "resources: {instance_count: 4}\n")))

    assert [name for name in record.ignored if "instance" in name] == ["resources instance_count"]
