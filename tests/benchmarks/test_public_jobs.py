import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "public_jobs.py"

GOOD = "type: pipeline\njobs:\n  a: {command: echo, environment: 'azureml:any:1'}\n"
REGISTERED = GOOD + "  b: {component: 'azureml:elsewhere:1'}\n"
HYPHENS = GOOD.replace("  a:", "  a-b:")
UNKNOWN_SETTING = GOOD + "settings: {no_such: 1}\n"
NO_CODE = GOOD.replace("command: echo", "command: echo, code: ./gone")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_every_job_file_gets_its_verdict(tmp_path):
    files = {
        "good.yml": GOOD,
        "sub/registered.yml": REGISTERED,
        "hyphens.yaml": HYPHENS,
        "no_code.yml": NO_CODE,
        "both.yml": GOOD.replace("azureml:any:1", "file:./gone.yml"),
        "component.yml": "type: command\nname: x\nversion: 1\ncommand: echo\n",
        "workflow.yml": "on: push\njobs: {a: {steps: []}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    done = run(tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/good.yml: read, as azure-ai-ml reads it" in done.stdout
    assert f"{tmp_path}/sub/registered.yml: needs what is not on this machine" in done.stdout
    assert f"{tmp_path}/hyphens.yaml: read here, refused by azure-ai-ml" in done.stdout
    assert f"{tmp_path}/no_code.yml: names files that are not in the folder" in done.stdout
    assert "component.yml" not in done.stdout
    assert "workflow.yml" not in done.stdout
    assert "\n5 job files\n" in done.stdout


def test_refusing_what_azure_accepts_fails(tmp_path):
    (tmp_path / "job.yml").write_text(UNKNOWN_SETTING)

    done = run("--quiet", tmp_path)

    assert done.returncode == 1
    assert "1  refused here, accepted by azure-ai-ml" in done.stdout
    assert "job.yml" not in done.stdout
