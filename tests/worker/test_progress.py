"""The progress of a job: its speed, and the order of its writes."""

from __future__ import annotations

import pytest

from store.repositories.samples import NewSample
from store.store import Store
from tests.support.store_factories import claim_new_job
from tests.support.sync_checks import record_unsynced
from worker.jobs.result_files import BlobFiles
from worker.jobs.train_process import ResumePoint
from worker.runtime.progress import ProgressRecorder


def test_the_speed_of_a_training_is_that_of_the_current_attempt() -> None:
    resumed = ResumePoint(None, step=1000, seconds=100.0)  # 10 steps per second so far
    assert resumed.steps_per_second(1010, 105.0) == 2.0
    assert resumed.steps_per_second(1000, 100.0) is None
    assert ResumePoint(None, 0, 0.0).steps_per_second(30, 10.0) == 3.0


def test_results_are_on_disk_before_a_record_references_them(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claim_new_job(store)
    unsynced = record_unsynced(store, monkeypatch)
    recorder = ProgressRecorder(store, job.id, job.attempt, BlobFiles(store.blobs))
    for position in range(2):
        recorder.add(NewSample(position, 0, {"sr": store.blobs.put(f"result {position}".encode())}))
        recorder.record()
    assert unsynced == [False, False]
