import subprocess

import pytest

from amlocal.run.warm.call import PythonCall, plain_call


@pytest.mark.parametrize(
    "command",
    [
        "python train.py",
        "python train.py --x 1e-3 --name a=b,c:d@e_f%g+h/i.j",
        "python3 src/train.py 'two words' \"two 'other' words\" 'a\"b' ''",
        "python3.11 ./train.py joined' 'words\" here\"   --last\n",
        "  python\ttrain.py  'a $PATH `b` \\ ! *'",
        "python train.py 'a\nb'",
    ],
)
def test_a_plain_call_has_the_words_that_bash_makes_of_it(command):
    told = subprocess.check_output(["bash", "-c", f"printf '%s\\0' {command.strip()}"], text=True)

    call = plain_call(command)

    assert call is not None
    name, *words = told.split("\0")[:-1]
    assert name.startswith("python")
    assert [call.script, *call.arguments] == words


def test_unbuffered():
    assert plain_call("python -u train.py 1") == PythonCall("train.py", ("1",), ("-u",))


@pytest.mark.parametrize(
    "command",
    [
        "",
        "python",
        "python -m train",
        "python -c 'pass'",
        "python -O train.py",
        "python -u",
        "python /other/train.py",
        "python ../train.py",
        "python a/../../train.py",
        "python train.sh",
        "pythonic train.py",
        "/usr/bin/python train.py",
        "bash train.py",
        "X=1 python train.py",
        "exec python train.py",
        "python train.py; echo",
        "python train.py && echo",
        "python train.py\necho",
        "python train.py\n--x 1",
        "python train.py | tee log",
        "python train.py > log",
        "python train.py &",
        "python train.py $HOME",
        'python train.py "$HOME"',
        'python train.py "`date`"',
        'python train.py "a\\"b"',
        "python train.py *.csv",
        "python train.py {1,2}",
        "python train.py ~",
        "python train.py a\\ b",
        "python train.py # why",
        "python train.py 'open",
        "python train.py \\\n --x 1",
        "python train.py (",
        "python train.py ?",
        "python train.py [ab]",
        "python train.py !x",
        "python train.py ünïcode",
    ],
)
def test_everything_else_is_none(command):
    assert plain_call(command) is None
