import pytest
import torch


@pytest.fixture(scope="module")
def attention(benchmark):
    return benchmark("attention")


def test_the_three_ways_compute_the_same(attention, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "P", 0.0)
    monkeypatch.setattr(attention, "PADDING", 0.3)
    inputs, lengths, mask = attention.batch(2, 12, 8)
    assert len(set(lengths)) > 3
    whole = attention.plain(*inputs, mask)
    rows = attention.by_row(*inputs, lengths)
    # So little dropout that not one of 2**16 levels drops anything.
    own = attention.dropout._attention(torch.nn.Module(), *inputs, mask, dropout=1e-9)[0]
    for row, length in enumerate(lengths):
        assert torch.allclose(rows[row, :length], whole[row, :length], atol=0.02)
        assert torch.allclose(own[row, :length], whole[row, :length], atol=0.02)
        assert not rows[row, length:].any()
