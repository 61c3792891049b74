"""The pipeline of ``benchmarks/engine.py`` for Kubeflow Pipelines' local runner; run in an environment with kfp.

Example:
    python benchmarks/engine_kfp.py --steps 30 --width 10 --root /tmp/pipelines --command 'true'
"""

import argparse

from kfp import dsl, local


@dsl.component(install_kfp_package=False)
def run_command(command: str, after: str = "") -> str:
    """Run a command, as a step of amlocal does."""
    import subprocess

    subprocess.run(["bash", "-c", command], check=True)
    return "done"


def main() -> None:
    """Run the pipeline once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--width", type=int, required=True, help="a step waits for the one this many before it")
    parser.add_argument("--root", required=True, help="where kfp keeps what it writes")
    parser.add_argument("--command", required=True)
    options = parser.parse_args()
    # Without an environment of its own for every task, which is kfp's default and takes seconds each.
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=options.root)

    @dsl.pipeline(name="wide")
    def wide() -> None:
        tasks = []
        for number in range(options.steps):
            after = {"after": tasks[number - options.width].output} if number >= options.width else {}
            task = run_command(command=options.command, **after)
            task.set_caching_options(False)
            tasks.append(task)

    wide()


if __name__ == "__main__":
    main()
