"""Processes with different clocks agree about leases, garbage and order, because they use shared clocks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from bench.chaos.shifted_clock import build_clock_library, can_shift_clock
from config.settings import Settings
from store.db.migrate import migrate
from store.db.tables import Shard, now
from store.repositories import models as models_module
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository
from store.repositories.models import ModelRepository
from store.store import Store
from tests.support.store_factories import create_job, create_model

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
    requeued = jobs.requeue_expired_leases(20)
    jobs.claim(waiting, "the other", 30)
print(time.time(), requeued, collect_garbage(store.database, store.blobs, 60))
"""


@pytest.mark.skipif(not can_shift_clock(), reason="shifting a clock takes Linux and cc")
@pytest.mark.parametrize("hours", [-2, 2])
def test_wrong_clock_changes_no_lease_and_no_deletion(
    tmp_path: Path, postgresql_url: str, redis_url: str, hours: int
) -> None:
    store = Store.open(Settings(data_dir=tmp_path, database_url=postgresql_url, redis_url=redis_url))
    migrate(store.database)
    with store.database.write() as session:
        jobs = JobRepository(session)
        held, waiting = (create_job(session, "sr").id for _ in range(2))
        jobs.claim(held, "we", LEASE)
    young, old = store.blobs.put(b"about to be named"), store.blobs.put(b"garbage")
    os.utime(store.blobs.path(old), (time.time() - 100, time.time() - 100))
    output = subprocess.run(
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
    assert abs(float(output[0]) - time.time() - 3600 * hours) < 60, "its clock is shifted"
    assert output[1:] == ["[]", "1"], "our job keeps its lease, and only the old blob is deleted"
    assert store.blobs.path(young).exists()
    with store.database.read() as session:
        remaining = session.scalar(select(Shard.lease_until - now()).where(Shard.job_id == waiting))
    assert remaining is not None
    assert LEASE - 10 < remaining <= LEASE, "its lease is as long as ours"
    store.close()


def test_latest_model_is_by_the_database_clock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 4).id
    for name in ("01zz-of-a-clock-ahead", "01aa-of-a-clock-behind"):
        monkeypatch.setattr(models_module, "new_id", lambda name=name: name)
        time.sleep(0.01)
        with store.database.write() as session:
            create_model(session, dataset, job_id=name)
    with store.database.read() as session:
        models = ModelRepository(session)
        latest = models.get_latest(dataset)
        assert latest is not None
        assert models.list_ids([dataset])[dataset] == [latest.id, "01zz-of-a-clock-ahead"]
        assert latest.id == "01aa-of-a-clock-behind"
