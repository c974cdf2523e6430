"""Processes whose clocks are hours apart: whose job it is, and what is garbage, goes by clocks that all share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.chaos.shifted_clock import build_clock_library, can_shift_clock
from config.settings import Settings
from store.db.migrate import migrate
from store.db.tables import Job, now
from store.repositories import models as trained
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store

LEASE = 30
SCRIPT = """
import sys, time
from config.settings import settings
from store.repositories.jobs import JobRepository
from store.files.gc import collect_garbage
from store.store import Store

store = Store.open(settings())
held, waiting = sys.argv[1:]
with store.database.write() as session:
    jobs = JobRepository(session)
    reaped = jobs.requeue_expired_leases(20)
    jobs.claim(waiting, "the other", 30)
print(time.time(), reaped, collect_garbage(store.database, store.blobs, 60))
"""


@pytest.mark.skipif(not can_shift_clock(), reason="a clock is set apart by a small library, which takes Linux and cc")
@pytest.mark.parametrize("hours", [-2, 2])
def test_a_process_with_another_clock_takes_nothing_too_soon_and_keeps_nothing_too_long(
    tmp_path: Path, postgresql_url: str, redis_url: str, hours: int
) -> None:
    store = Store.open(Settings(data_dir=tmp_path, database_url=postgresql_url, redis_url=redis_url))
    migrate(store.database)
    with store.database.write() as session:
        jobs = JobRepository(session)
        held, waiting = (
            jobs.create("sr", dataset_id=None, model_id=None, parameters={}, unit="images", total=1).id
            for _ in range(2)
        )
        jobs.claim(held, "we", LEASE)
    young, old = store.blobs.put(b"about to be named"), store.blobs.put(b"garbage")
    os.utime(store.blobs.path(old), (time.time() - 100, time.time() - 100))
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, held, waiting],
        env=os.environ
        | {
            "LD_PRELOAD": str(build_clock_library(tmp_path, 3600 * hours)),
            "PATINA_DATA_DIR": str(tmp_path),
            "PATINA_DATABASE_URL": postgresql_url,
            "PATINA_REDIS_URL": redis_url,
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert abs(float(said[0]) - time.time() - 3600 * hours) < 60, "its clock is really another"
    assert said[1:] == ["[]", "1"], "our job is not taken, and of two blobs one is deleted"
    assert store.blobs.path(young).exists()
    with store.database.read() as session:
        left = session.get_one(Job, waiting).lease_until - session.scalar(now())
    assert LEASE - 10 < left <= LEASE, "its own lease is no longer or shorter than ours"
    store.close()


def test_the_latest_model_is_the_one_that_came_last_whatever_its_worker_s_clock_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 4).id
    for name in ("01zz-of-a-clock-ahead", "01aa-of-a-clock-behind"):
        monkeypatch.setattr(trained, "new_id", lambda name=name: name)
        time.sleep(0.01)
        with store.database.write() as session:
            ModelRepository(session).create(
                dataset_id=dataset,
                job_id=name,
                preset="default",
                scale=4,
                kernel_origin=(-8, -8),
                steps=1,
                seconds=1.0,
                files={},
                history=[],
            )
    with store.database.read() as session:
        models = ModelRepository(session)
        latest = models.get_latest(dataset)
        assert latest is not None
        assert models.list_ids([dataset])[dataset] == [latest.id, "01zz-of-a-clock-ahead"]
        assert latest.id == "01aa-of-a-clock-behind"
