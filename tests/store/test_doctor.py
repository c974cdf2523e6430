"""The doctor reports each problem and repairs those that are safe to repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.admin.doctor import Finding, check, count_unreferenced
from store.db.tables import Dataset, Job
from store.errors import LeaseLostError
from store.files.blobs import Blobs
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import CheckpointRepository, PreviewRepository
from store.repositories.samples import NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import fill_store


def ended(store: Store) -> str:
    job_id = fill_store(store)
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        JobRepository(session).finish(job_id, job.attempt, "succeeded")
    return job_id


def repair(store: Store, findings: list[Finding]) -> None:
    for finding in findings:
        if finding.repair:
            with store.database.write() as session:
                finding.repair(session)


def test_complete_data_has_no_findings(store: Store) -> None:
    ended(store)
    store.blobs.put(b"garbage!")
    assert list(check(store, deep=True)) == []
    assert count_unreferenced(store) == (1, 8)


def test_missing_blobs_are_reported_and_repaired(store: Store) -> None:
    job_id = ended(store)
    for content in (b"a photo", b"lr", b"a checkpoint", b"a degrader"):
        store.blobs.path(store.blobs.put(content)).unlink()
    findings = list(check(store, deep=False))
    messages = "\n".join(finding.message for finding in findings)
    for expected in (
        "photo 'a.png' (hr)",
        f"1 results of job {job_id}",
        "checkpoint of training",
        "lacks degrader.safetensors",
    ):
        assert expected in messages
    assert [finding.repair is None for finding in findings].count(True) == 1, "nothing can restore a model"
    repair(store, findings)
    (remaining,) = check(store, deep=False)
    assert "train again" in remaining.remedy
    with store.database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.ok, job.done, job.finished_at) == ("queued", 0, 0, None)
        assert SampleRepository(session).count_samples(job_id) == 0
        assert CheckpointRepository(session).list_for_job(job_id) == []
        dataset = DatasetRepository(session).get(job.dataset_id or "")
        assert dataset is not None
        assert dataset.hr_images == 0


def test_previews_and_inputs_are_checked_too(store: Store) -> None:
    """Checks the preview of a training and the input of a succeeded job."""
    job_id = ended(store)
    with store.database.write() as session:
        PreviewRepository(session).put(job_id, step=1, files={"patches.png": store.blobs.put(b"patches")})
    for content in (b"patches", b"an input"):
        store.blobs.path(store.blobs.put(content)).unlink()
    findings = list(check(store, deep=False))
    assert [finding.repair is None for finding in findings] == [True, False]
    assert "hr=true" in findings[0].remedy
    repair(store, findings)
    assert len(list(check(store, deep=False))) == 1
    with store.database.read() as session:
        assert PreviewRepository(session).get(job_id) is None


def test_deep_check_finds_a_flipped_bit_and_requeues(store: Store) -> None:
    job_id = ended(store)
    path = store.blobs.path(store.blobs.put(b"kernel"))
    path.write_bytes(b"kernem")
    assert list(check(store, deep=False)) == []
    findings = list(check(store, deep=True))
    assert len(findings) == 2
    assert path.name in findings[0].message
    repair(store, findings)
    assert (store.blobs.root.parent / "damaged" / path.name).read_bytes() == b"kernem"
    with store.database.read() as session:
        assert session.get_one(Job, job_id).status == "queued"
    assert list(check(store, deep=True)) == []


def test_running_job_with_lost_results_loses_its_lease(store: Store) -> None:
    job_id = fill_store(store)
    with store.database.write() as session:
        attempt = session.get_one(Job, job_id).attempt
    store.blobs.path(store.blobs.put(b"kernel")).unlink()
    repair(store, list(check(store, deep=False)))
    with pytest.raises(LeaseLostError), store.database.write() as session:
        JobRepository(session).finish(job_id, attempt, "succeeded")
    with store.database.write() as session:
        claimed = JobRepository(session).claim(job_id, "another worker", 60)
        assert claimed is not None
        assert (claimed.attempt, claimed.done, claimed.ok) == (attempt + 1, 0, 0)


def test_canceled_job_is_not_requeued(store: Store) -> None:
    job_id = fill_store(store)
    with store.database.write() as session:
        JobRepository(session).finish(job_id, session.get_one(Job, job_id).attempt, "canceled")
    store.blobs.path(store.blobs.put(b"kernel")).unlink()
    repair(store, list(check(store, deep=False)))
    with store.database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.ok, job.done) == ("canceled", 0, 0)
    assert list(check(store, deep=False)) == []


def test_skipped_samples_count_as_done(store: Store) -> None:
    job_id = fill_store(store)
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        jobs = JobRepository(session)
        jobs.record(
            job_id, job.attempt, Progress(2, 2, None, None), [NewSample(0, 1, {}, "too_flat", "", skipped=True)]
        )
        jobs.finish(job_id, job.attempt, "succeeded")
    store.blobs.path(store.blobs.put(b"kernel")).unlink()
    repair(store, list(check(store, deep=False)))
    with store.database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.status, job.ok, job.failed, job.done) == ("queued", 0, 0, 1)


def test_blobs_deleted_meanwhile_are_no_findings(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ended(store)
    checkpoint, garbage = (store.blobs.path(store.blobs.put(content)) for content in (b"a checkpoint", b"garbage!"))
    is_file = Path.is_file

    def delete_after_the_check(path: Path) -> bool:
        found = is_file(path)
        if path == checkpoint:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", delete_after_the_check)
    assert list(check(store, deep=True)) == []
    monkeypatch.setattr(Blobs, "iter_older_than", lambda *_: iter([garbage.name, "0" * 64]))
    assert count_unreferenced(store) == (1, 8)


def test_wrong_counts_are_repaired(store: Store) -> None:
    job_id = ended(store)
    with store.database.write() as session:
        job = session.get_one(Job, job_id)
        job.ok = 5
        session.get_one(Dataset, job.dataset_id).hr_images = 7
    findings = list(check(store, deep=False))
    assert "5 results, but 1" in findings[0].message
    assert "7 hr photos, but 1" in findings[1].message
    repair(store, findings)
    with store.database.read() as session:
        assert session.get_one(Job, job_id).ok == 1
        assert session.get_one(Dataset, job.dataset_id).hr_images == 1
    assert list(check(store, deep=False)) == []
