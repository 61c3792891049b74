import pytest

from finetune.training.progress import Progress

SHOWN = {"loss": 0.5, "learning_rate": 1e-4, "grad_norm": 1.5, "padding_share": 0.25}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_step_has_its_own_rates_and_padding() -> None:
    clock = Clock()
    progress = Progress(steps=10, first_step=0, clock=clock)
    clock.now += 2
    assert progress.figures(8, 60, 80) == {
        "samples_per_second": 4.0,
        "tokens_per_second": 30.0,
        "padding_share": 0.25,
    }
    # Validation between two steps counts in neither rate nor seconds.
    clock.now += 7
    progress.leave_out(7)
    clock.now += 4
    assert progress.figures(8, 80, 80) == {
        "samples_per_second": 2.0,
        "tokens_per_second": 20.0,
        "padding_share": 0.0,
    }
    assert (progress.seconds, progress.rows) == (6.0, 16)


def test_a_line_every_ten_seconds_says_how_fast_and_how_much_longer(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    # A run that goes on: what was done before says nothing about the rate.
    progress = Progress(steps=1020, first_step=1000, clock=clock)
    with caplog.at_level("INFO"):
        for step in range(1001, 1021):
            clock.now += 400
            progress.figures(8, 60, 80)
            if step % 2 == 0:
                clock.now -= 399
            progress.show(step, SHOWN)
            if step == 1001:
                (first,) = caplog.messages
                # 19 steps of 400 s.
                assert first == (
                    "step 1001/1020 (98 %) loss 0.5000, learning rate 0.0001, gradient norm 1.5, 0 rows/s, "
                    "padding 25.0 %, 2:06:40 left"
                )
    # Seldom in between, and always at the end.
    assert len(caplog.messages) == 11
    assert caplog.messages[-1].startswith("step 1020/1020 (100 %)")
    assert caplog.messages[-1].endswith(" 0:00 left")
