"""Choose, fed by the evaluations that evaluate writes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import GATE_POLICY, load_component, track_in

from finetune.errors import InputError
from finetune.files import folder_sha256


@dataclass(frozen=True)
class Evaluated:
    """A good model and a bad one, with what evaluate wrote of both and of each against the other."""

    folder: Path
    models: dict[str, Path]

    def evaluation(self, model: str, reference: str | None = None) -> Path:
        return self.folder / f"{model}-{reference}"

    def choose(self, out: Path, first: str, second: str, comparison: Path | None = None) -> dict[str, object]:
        load_component("choose").main(
            [
                *("--first_model", str(self.models[first]), "--first_evaluation", str(self.evaluation(first))),
                *("--second_model", str(self.models[second]), "--second_evaluation", str(self.evaluation(second))),
                *("--comparison", str(comparison or self.evaluation(second, first))),
                *("--gate_policy", str(self.folder / "gate.yml"), "--selection", str(out / "selection")),
                *("--model", str(out / "model"), "--evaluation", str(out / "evaluation")),
            ]
        )
        return json.loads((out / "selection" / "selection.json").read_text())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, message_dataset: Path, trained_model: Path) -> Evaluated:
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("evaluated")
    track_in(folder)
    (folder / "gate.yml").write_text(yaml.safe_dump({**GATE_POLICY, "minimum": {"accuracy": 0.2}}))
    bad = shutil.copytree(trained_model, folder / "bad")
    weights = bad / "artifacts" / "checkpoint" / "model.safetensors"
    tensors = load_file(weights)
    tensors["classifier.weight"] *= 0
    save_file(tensors, weights, {"format": "pt"})
    found = Evaluated(folder, {"good": trained_model, "bad": bad})
    for model, reference in (("good", None), ("bad", None), ("good", "bad"), ("bad", "good")):
        more = () if reference is None else ("--reference_model", str(found.models[reference]))
        load_component("evaluate").main(
            [
                *("--dataset", str(message_dataset), "--model", str(found.models[model])),
                *("--gate_policy", str(folder / "gate.yml")),
                *("--evaluation", str(found.evaluation(model, reference)), *more),
            ]
        )
    return found


def test_the_second_goes_on_when_it_beats_the_first(evaluated: Evaluated, tmp_path: Path) -> None:
    selection = evaluated.choose(tmp_path, "bad", "good")

    assert selection["chosen"] == "automl"
    assert selection["reason"].startswith("automl beats sweep: ")
    assert folder_sha256(tmp_path / "model") == folder_sha256(evaluated.models["good"]) == selection["model_sha256"]
    verdict = json.loads((tmp_path / "evaluation" / "verdict.json").read_text())
    assert verdict["model_sha256"] == selection["model_sha256"]


def test_the_first_keeps_its_place_otherwise(evaluated: Evaluated, tmp_path: Path) -> None:
    selection = evaluated.choose(tmp_path, "good", "bad")

    assert selection["chosen"] == "sweep"
    assert folder_sha256(tmp_path / "model") == folder_sha256(evaluated.models["good"])
    page = (tmp_path / "selection" / "candidates.md").read_text()
    assert page.startswith("## sweep goes on")
    assert "| metric | sweep | automl | most frequent label |" in page
    for name in ("sweep", "automl"):
        assert f"| **f1_macro** | {selection['candidates']['sweep']['metrics']['f1_macro']:.4f} " in page
        assert f"**{name}**: promoted" in page


def test_an_edited_verdict_is_not_acted_upon(evaluated: Evaluated, tmp_path: Path) -> None:
    edited = shutil.copytree(evaluated.evaluation("bad", "good"), tmp_path / "edited")
    verdict = json.loads((edited / "verdict.json").read_text())
    (edited / "verdict.json").write_text(json.dumps({**verdict, "promoted": True}))

    with pytest.raises(InputError, match=r"verdict.json: says .*; the gate comes to"):
        evaluated.choose(tmp_path / "out", "good", "bad", edited)
    assert not (tmp_path / "out").exists()


def test_a_comparison_with_another_model_is_refused(evaluated: Evaluated, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the comparison is with the model None; expected sweep's"):
        evaluated.choose(tmp_path / "out", "good", "bad", evaluated.evaluation("bad"))
    assert not (tmp_path / "out").exists()
