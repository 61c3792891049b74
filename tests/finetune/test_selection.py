import pytest

from finetune.errors import InputError
from finetune.selection import Candidate, describe, select

FIGURES = {"challenger": {"f1_macro": 0.9}, "baseline": {"f1_macro": 0.1}}


def verdict(model: str, promoted: bool, champion: str | None = None, **more: object) -> dict[str, object]:
    same = {"test_sha256": "rows", "policy_sha256": "policy", "code_sha256": "code"}
    described = None if champion is None else {"name": "m", "version": "1", "model_sha256": champion}
    reasons = [f"{model} is {'fine' if promoted else 'weak'}"]
    return {
        **same,
        "model_sha256": model,
        "promoted": promoted,
        "reasons": reasons,
        "champion": described,
        "comparison": None,
        **more,
    }


def candidate(name: str, promoted: bool, **more: object) -> Candidate:
    return Candidate(name, name, verdict(name, promoted, **more), {"metrics": FIGURES})


@pytest.mark.parametrize(
    ("first", "second", "beats", "chosen", "said"),
    [
        (True, True, True, "automl", "automl beats sweep: automl is fine"),
        (True, True, False, "sweep", "automl does not beat sweep: automl is weak"),
        (True, False, True, "sweep", "automl is not promoted (automl is weak)"),
        (True, False, False, "sweep", "automl is not promoted (automl is weak)"),
        (False, True, False, "automl", "sweep is not promoted (sweep is weak) and automl is"),
        (False, True, True, "automl", "sweep is not promoted (sweep is weak) and automl is"),
        (False, False, True, "sweep", "automl is not promoted (automl is weak), and sweep is not either"),
        (False, False, False, "sweep", "automl is not promoted (automl is weak), and sweep is not either"),
    ],
)
def test_who_goes_on(first: bool, second: bool, beats: bool, chosen: str, said: str) -> None:
    sweep, automl = candidate("sweep", first), candidate("automl", second)
    comparison = verdict("automl", beats, champion="sweep")

    found = select(sweep, automl, comparison)

    assert (found.chosen.name, found.reason) == (chosen, said)
    described = describe(found, sweep, automl, comparison)
    assert (described["chosen"], described["model_sha256"]) == (chosen, chosen)
    assert described["candidates"]["automl"]["promoted"] is second


def test_a_higher_test_score_alone_chooses_nothing() -> None:
    sweep = candidate("sweep", True)
    higher = {"metrics": {**FIGURES, "challenger": {"f1_macro": 0.99}}}
    automl = Candidate("automl", "automl", verdict("automl", True), higher)

    assert select(sweep, automl, verdict("automl", False, champion="sweep")).chosen is sweep


@pytest.mark.parametrize(
    ("second", "comparison", "message"),
    [
        ({}, {"model_sha256": "other"}, "the comparison is about the model other; expected automl's"),
        ({}, {"champion": None}, "the comparison is with the model None; expected sweep's sweep"),
        ({}, {"champion": {"model_sha256": "other"}}, "the comparison is with the model other; expected sweep's"),
        ({"test_sha256": "others"}, {}, "the verdicts' test_sha256 differ: others, rows"),
        ({}, {"policy_sha256": "older"}, "the verdicts' policy_sha256 differ: older, policy"),
        ({"code_sha256": "older"}, {}, "the verdicts' code_sha256 differ: code, older"),
        ({"champion": {"name": "m", "version": "2"}}, {}, "the candidates were compared with different champions"),
    ],
)
def test_verdicts_that_do_not_belong_together(
    second: dict[str, object], comparison: dict[str, object], message: str
) -> None:
    against = {**verdict("automl", True, champion="sweep"), **comparison}
    automl = Candidate("automl", "automl", {**verdict("automl", True), **second}, {"metrics": FIGURES})

    with pytest.raises(InputError, match=message):
        select(candidate("sweep", True), automl, against)
