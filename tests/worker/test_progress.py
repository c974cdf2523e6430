"""What a job says of its own speed, and what it records of itself."""

from __future__ import annotations

import pytest

from store.repositories.jobs import NewSample
from store.store import Store
from tests.sync_checks import watch_settling
from tests.worker.conftest import claimed
from worker.jobs.train_process import Start
from worker.runtime.progress import ProgressRecorder


def test_a_training_s_rate_is_that_of_the_present_attempt() -> None:
    resumed = Start(None, step=1000, seconds=100.0)  # ten steps a second so far
    assert resumed.rate(1010, 105.0) == 2.0
    assert resumed.rate(1000, 100.0) is None
    assert Start(None, 0, 0.0).rate(30, 10.0) == 3.0


def test_results_are_on_the_disk_before_a_record_names_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(store)
    unsettled = watch_settling(store, monkeypatch)
    recorder = ProgressRecorder(store, job.id, job.attempt, done=0, total=2)
    for position in range(2):
        recorder.add(NewSample(position, 0, {"sr": store.blobs.put(f"result {position}".encode())}))
        recorder.record()
    assert unsettled == [False, False]
