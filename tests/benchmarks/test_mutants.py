import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "benchmarks" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


def test_each_planted_bug_has_its_place_and_tests_that_guard_it(mutants) -> None:
    for mutant in mutants.MUTANTS:
        text = (ROOT / mutant.file).read_text()
        assert text.count(mutant.right) == 1, mutant.name
        assert mutant.wrong not in (mutant.right, text), mutant.name
        for path in mutants.GUARDS[mutant.file].split():
            assert (ROOT / path).exists(), path
