"""What a job says of its own speed."""

from __future__ import annotations

from worker.train_child import Start


def test_a_training_s_rate_is_that_of_the_present_attempt() -> None:
    resumed = Start(None, step=1000, seconds=100.0)  # ten steps a second so far
    assert resumed.rate(1010, 105.0) == 2.0
    assert resumed.rate(1000, 100.0) is None
    assert Start(None, 0, 0.0).rate(30, 10.0) == 3.0
