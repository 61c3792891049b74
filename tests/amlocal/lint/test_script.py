"""A command held against its script: what is certain is an error, what is not is a warning or nothing."""

import pytest

from amlocal.lint.check import lint_file
from amlocal.lint.files import Kind

COMPONENT = """\
type: command
name: step
version: "1"
environment: azureml:any:1
code: src
inputs:
  number: {{type: number}}
  text: {{type: string}}
  flag: {{type: boolean}}
  folder: {{type: uri_folder}}
  maybe: {{type: string, optional: true}}
command: >-
  {command}
"""
PARSER = "import argparse\n\nparser = argparse.ArgumentParser()\n{}\nargs = parser.parse_args()\n"


@pytest.fixture
def found(tmp_path):
    def lint(command, script="", **files):
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / "run.py").write_text(script)
        for name, text in files.items():
            (tmp_path / "src" / f"{name}.py").write_text(text)
        (tmp_path / "step.yml").write_text(COMPONENT.format(command=command))
        problems = lint_file(tmp_path / "step.yml", kind=Kind.COMPONENT).problems
        kept = [problem for problem in problems if problem.rule != "unused"]
        return [f"{'warning ' if problem.warning else ''}{problem.rule}" for problem in kept]

    return lint


NUMBER = "--number ${{inputs.number}}"


@pytest.mark.parametrize(
    ("arguments", "command", "problems"),
    [
        ('parser.add_argument("--number", type=float)', NUMBER, []),
        ('parser.add_argument("--number", type=float)', "--num ${{inputs.number}}", []),
        ('parser.add_argument("--number", type=float)', "--numbr ${{inputs.number}}", ["unknown-argument"]),
        ('parser.add_argument("--number", type=int)', "--number 1.5", ["argument-value"]),
        ('parser.add_argument("--number", choices=[1, 2], type=int)', "--number 3", ["argument-value"]),
        ('parser.add_argument("--number", required=True)', "", ["missing-argument"]),
        ('parser.add_argument("--number", required=True)', "$[[--number ${{inputs.maybe}}]]", ["missing-argument"]),
        ('parser.add_argument("--number")', "--number", ["argument-usage"]),
        ('parser.add_argument("--flag", action="store_true")', "--flag ${{inputs.flag}}", ["argument-usage"]),
        ('parser.add_argument("--flag", action="store_true")', "--flag ${{inputs.text}}", []),
        ('parser.add_argument("--flag", type=bool)', "--flag ${{inputs.flag}}", ["warning boolean-argument"]),
        ('parser.add_argument("folder")', "${{inputs.folder}}", []),
        ('parser.add_argument("folder")', "", ["missing-argument"]),
        ("", "${{inputs.folder}}", ["unknown-argument"]),
        ("", "${{inputs.text}}", []),
        ('parser.add_argument("rest", nargs=argparse.REMAINDER)', "x --anything 1", []),
        ('parser.add_argument("-h", "--host")', "--host x", []),
        ('parser.add_argument("--x", nargs=0, action=object)', "--x", []),
        ('for n in ("a", "b"):\n    parser.add_argument(f"--{n}")', "--a 1 --b 2", []),
        ('for n in ("a", "b"):\n    parser.add_argument(f"--{n}")', "--c 1", ["unknown-argument"]),
        ('NAMES = ["a"]\nfor n in NAMES:\n    parser.add_argument("--" + n)', "--a 1", []),
        ('NAMES = ["a"]\nfor n in NAMES:\n    parser.add_argument("--" + n)', "--c 1", ["warning unknown-argument"]),
        ("import other\nother.more(parser)", "--x 1", ["warning unknown-argument"]),
        ('if True:\n    parser.add_argument("--x", required=True)', "", []),
        ('sub = parser.add_subparsers()\nsub.add_parser("go").add_argument("--x", required=True)', "go --x 1", []),
        ('parser.add_argument("--x")', "--x 1 $MORE", []),
        ('parser.add_argument("--x", type=int)', "--x $K", []),
        ('parser.add_argument("--x", type=int)', "--x=$K", []),
        ('parser.add_argument("--x", type=int)', "--x $((1 + 2))", []),
        ('parser.add_argument("--x", type=int)', "--x $(cat a | wc -l)", []),
        ('parser.add_argument("--x", type=int)', "--x ${K:-3 4}", []),
        ('parser.add_argument("--x", type=int)', "--x $AZURE_ML_INPUT_number", []),
        ('parser.add_argument("--x", choices=["a", "b"])', "--x ${CH}", []),
        ('parser.add_argument("x", choices=["a", "b"])', "{a,b}", []),
        ('parser.add_argument("x", type=int)', "$MORE a", []),
        ('parser.add_argument("--x", type=int)', "$MORE --x a", ["argument-value"]),
        ('parser.add_argument("--x", type=int)', "$MORE --x=a", ["argument-value"]),
        ('parser.add_argument("--x", type=int)', "--x 1 --y a $MORE", ["unknown-argument"]),
        ('parser.add_argument("--x")', "--x 1 | tee log.txt && echo --y", []),
    ],
)
def test_argparse(found, arguments, command, problems):
    assert found(f"python run.py {command}", PARSER.format(arguments)) == problems


@pytest.mark.parametrize(
    ("command", "problems"),
    [("@args.txt", []), ("--x 1 @${{inputs.text}}", []), ("${{inputs.text}}", []), ("--x 1", ["missing-argument"])],
)
def test_arguments_may_be_in_a_file(found, command, problems):
    script = PARSER.format('parser.add_argument("--x", required=True)\nparser.add_argument("--y", required=True)')
    script = script.replace("ArgumentParser()", 'ArgumentParser(fromfile_prefix_chars="@")')
    assert found(f"python run.py {command}", script) == problems


@pytest.mark.parametrize(
    ("script", "problems"),
    [
        ("print((1)\n", ["script-syntax"]),
        ("if True:\nx = 1\n", ["script-syntax"]),
        ("print 'python 2'\n", ["warning script-syntax"]),
        ("if True:\n\tx = 1\n        y = 2\n", ["warning script-syntax"]),
        ('print(f"{g("(")}")\n', ["warning script-syntax"]),  # Python 3.12
        ("class A[T]: pass\n", ["warning script-syntax"]),
    ],
)
def test_what_another_python_may_take_is_a_warning(found, script, problems):
    assert found("python run.py", script) == problems


def test_parse_known_args_is_a_warning(found):
    script = PARSER.format("").replace("args = parser.parse_args()", "args, rest = parser.parse_known_args()")
    assert found("python run.py --x 1", script) == ["warning unknown-argument"]


def test_arguments_of_a_called_module_count(found):
    script = "from common import read\n\nargs = read()\n"
    common = "import argparse\n\n\ndef read():\n" + "".join(
        f"    {line}\n" for line in PARSER.format('parser.add_argument("--x", required=True)').splitlines()[2:]
    )
    assert found("python run.py --x 1", script, common=common) == []
    assert found("python run.py --y 1 --x 2", script, common=common) == ["unknown-argument"]


DATACLASS = """\
from dataclasses import dataclass, field
from transformers import HfArgumentParser
{imports}

@dataclass
class Arguments{base}:
    data_path: str
    rate: float = 0.1
    names: list[str] = field(default_factory=list)
    quiet: bool = False


(arguments,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
"""


@pytest.mark.parametrize(
    ("command", "problems"),
    [
        ("--data_path x", []),
        ("--data-path x --rate 0.5 --names a b --quiet", []),
        ("--data_path x --quiet False", []),
        ("--rate 1", ["missing-argument"]),
        ("--data_path x --rate high", ["argument-value"]),
        ("--data_path x --epochs 3", ["unknown-argument"]),
    ],
)
def test_dataclasses(found, command, problems):
    assert found(f"python run.py {command}", DATACLASS.format(imports="", base="")) == problems


def test_nothing_is_said_of_fields_from_another_package(found):
    script = DATACLASS.format(imports="from transformers import TrainingArguments\n", base="(TrainingArguments)")
    assert found("python run.py --data_path x --num_train_epochs 3", script) == []


CLICK = """\
import click


@click.command()
@click.option("--rate", type=float, required=True)
@click.option("--loud/--quiet")
@click.argument("path")
def main(rate, loud, path):
    pass
"""


@pytest.mark.parametrize(
    ("command", "problems"),
    [
        ("--rate 1 --quiet x", []),
        ("--rat 1 --rate 1 x", ["unknown-argument"]),
        ("--quiet x", ["missing-argument"]),
        ("--rate 1", ["missing-argument"]),
    ],
)
def test_click(found, command, problems):
    assert found(f"python run.py {command}", CLICK) == problems


@pytest.mark.parametrize("library", ["fire", "typer", "hydra", "absl", "jsonargparse"])
def test_other_libraries_are_left_alone(found, library):
    assert found("python run.py --x 1", f"import {library}\n" + PARSER.format("")) == []


@pytest.mark.parametrize(
    ("command", "problems"),
    [
        ("python run.py", []),
        ("cd . && python ./run.py", []),
        ("torchrun --nproc_per_node 2 run.py", []),
        ("accelerate launch --num_processes 2 run.py", []),
        ("mpirun -n 2 python run.py", []),
        ("python -m run", []),
        ("python -m pytest", []),
        ("python -c 'import run'", []),
        ("X=1 python -u ran.py", ["missing-script"]),
        ("pip install x && python ran.py", ["missing-script"]),
        ("git clone x && python ran.py", ["warning missing-script"]),
        ("bash make.sh", ["missing-script"]),
        ("cd $HOME && python ran.py", []),
        ("python ${{inputs.folder}}/ran.py", []),
        ("python /opt/ran.py", []),
        ("for x in 1 2; do python ran.py; done", []),
        ("if true; then python ran.py; fi", []),
        ("cat <<E > ran.py; python ran.py", []),
        ("python 'ran.py", ["unclosed-quote"]),
        ("python run.py && python made.py", ["warning missing-script"]),
        ("echo don't # 'fine", []),
        ("python run.py # don't", []),
        ("python run.py ${X:-it's}", []),
    ],
)
def test_which_script_is_started(found, command, problems):
    assert found(command) == problems


SWEEP = """\
type: sweep
trial:
  environment: azureml:any:1
  code: src
  command: python run.py ${{search_space.x}}
search_space: {x: {type: choice, values: [1, 2]}}
sampling_algorithm: grid
objective: {goal: maximize, primary_metric: score}
limits: {max_total_trials: 2}
compute: azureml:cpu
"""


@pytest.mark.parametrize(
    ("script", "problems"),
    [
        ('import mlflow\nmlflow.log_metric("score", 1)\n', []),
        ('import mlflow\nmlflow.log_metrics({"score": 1, "loss": 2})\n', []),
        ('import mlflow\nmlflow.log_metric("loss", 1)\n', ["metric-not-logged"]),
        ("print(1)\n", ["metric-not-logged"]),
        ("import mlflow\nmlflow.sklearn.autolog()\n", []),
        ("from transformers import Trainer\nTrainer()\n", []),
        ("import some_helpers\nsome_helpers.train()\n", []),
        ("import helpers\nhelpers.report(1)\n", []),
        ('import mlflow\nfor key, value in {"score": 1}.items():\n    mlflow.log_metric(key, value)\n', []),
        ("import mlflow, sys\nmlflow.log_metric(sys.argv[1], 1)\n", ["warning metric-not-logged"]),
        ("def broken(:\n", ["warning script-syntax"]),
    ],
)
def test_metrics(tmp_path, script, problems):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "run.py").write_text(script)
    (tmp_path / "src" / "helpers.py").write_text(
        'import mlflow\n\n\ndef report(x):\n    mlflow.log_metric("score", x)\n'
    )
    (tmp_path / "job.yml").write_text(SWEEP)

    found = lint_file(tmp_path / "job.yml").problems

    assert [f"{'warning ' if one.warning else ''}{one.rule}" for one in found] == problems


def test_the_line_of_an_argument_is_found_in_folded_text(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "run.py").write_text(PARSER.format('parser.add_argument("--x")'))
    (tmp_path / "step.yml").write_text(COMPONENT.format(command="python run.py\n  --x 1\n  --y 2"))

    problems = lint_file(tmp_path / "step.yml", kind=Kind.COMPONENT).problems
    (problem,) = [problem for problem in problems if problem.rule != "unused"]

    assert (problem.place.line, problem.message) == (15, "run.py takes no argument '--y'; known here: --x")
