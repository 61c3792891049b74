import pytest
import torch

from finetune.training import precision
from finetune.training.precision import choose_precision


@pytest.mark.parametrize("requested", ["fp32", "bf16", "fp16"])
def test_a_request_is_kept(requested: str) -> None:
    assert choose_precision(requested).name == requested


@pytest.mark.parametrize(
    ("flags", "name"), [({"avx2"}, "fp32"), ({"avx2", "avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16"), (set(), "fp32")]
)
def test_a_cpu_without_bf16_instructions_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(flags))
    chosen = choose_precision("auto")
    assert chosen.name == name
    assert chosen.reason


@pytest.mark.parametrize(("native", "name"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_takes_bf16_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch, native: bool, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert choose_precision("auto").name == name
