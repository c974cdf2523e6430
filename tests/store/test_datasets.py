"""Datasets and their images, on both databases."""

from __future__ import annotations

import threading
from itertools import pairwise

from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_claimed_job, create_job


def new_image(number: int) -> NewImage:
    return NewImage(f"{number}.png", f"{number:064x}", 64, 48)


def test_same_content_is_one_image_within_a_role(store: Store) -> None:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset = datasets.create("photos", 4)
        first = datasets.add_images(dataset.id, "lr", [new_image(1), new_image(2), new_image(1)])
    with store.database.write() as session:
        again = DatasetRepository(session).add_images(dataset.id, "lr", [new_image(2), new_image(3)])
        DatasetRepository(session).add_images(dataset.id, "hr", [new_image(1)])
    assert first[0].id == first[2].id
    assert again[0].id == first[1].id
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        shown = datasets.list_newest(before=None, limit=1)[0]
        assert (shown.lr_images, shown.hr_images) == (3, 1)
        assert [image.name for image in datasets.list_images(dataset.id, role="lr")] == ["1.png", "2.png", "3.png"]


def test_concurrent_uploads_count_each_image_once(store: Store) -> None:
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 4)
    errors: list[Exception] = []

    def add(numbers: range) -> None:
        try:
            with store.database.write() as session:
                DatasetRepository(session).add_images(dataset.id, "lr", [new_image(number) for number in numbers])
        except Exception as error:  # a thread's error would be lost
            errors.append(error)

    threads = [threading.Thread(target=add, args=(numbers,)) for numbers in (range(50), range(60, 10, -1)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        found = datasets.get(dataset.id)
        assert found is not None
        assert found.lr_images == len(datasets.list_images(dataset.id)) == 61


def test_latest_job_of_each_dataset(store: Store) -> None:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        one, two, none = (datasets.create(name, 4) for name in ("one", "two", "none"))
        created = [create_job(session, "train", dataset_id=dataset.id) for dataset in (one, one, two, one)]
        latest = datasets.latest_jobs([one.id, two.id, none.id])
        assert {dataset: job.id for dataset, job in latest.items()} == {
            one.id: max(created[0].id, created[1].id, created[3].id),
            two.id: created[2].id,
        }


def test_delete_removes_all_records_of_the_dataset(store: Store) -> None:
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        kept, gone = datasets.create("kept", 4), datasets.create("gone", 2)
        for dataset in (kept, gone):
            datasets.add_images(dataset.id, "lr", [new_image(1)])
            JobRepository(session).create(
                "train", dataset_id=dataset.id, model_id=None, parameters={}, unit="steps", total=1
            )
    with store.database.write() as session:
        DatasetRepository(session).delete(gone.id)
    with store.database.read() as session:
        datasets = DatasetRepository(session)
        assert datasets.get(gone.id) is None
        assert datasets.list_images(gone.id) == []
        assert len(datasets.list_images(kept.id)) == 1
        jobs = JobRepository(session).list_newest(before=None, limit=10, status=None, kind=None, dataset_id=None)
        assert [job.dataset_id for job in jobs] == [kept.id]


def test_batched_deletion_stays_consistent(store: Store) -> None:
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset, other = datasets.create("photos", 4), datasets.create("another", 4)
        for one in (dataset, other):
            datasets.add_images(one.id, "lr", [new_image(number) for number in range(12)])
            datasets.add_images(one.id, "hr", [new_image(number) for number in range(3)])
            job = create_claimed_job(session, "degrade", dataset_id=one.id, total=25)
            SampleRepository(session).add_items(job.id, [(f"{n}", NewItem(f"{n}.png", f"{n:064x}")) for n in range(5)])
            samples = [NewSample(n % 5, n // 5, {}) for n in range(25)]
            jobs.record(job.id, job.attempt, Progress(25, 25, None, None), samples)
            jobs.finish(job.id, job.attempt, "succeeded")
    sizes = [_records(store, dataset.id)]
    some = True
    while some:
        with store.database.write() as session:
            some = DatasetRepository(session).delete_batch(dataset.id, limit=10)
        sizes.append(_records(store, dataset.id))
    assert sizes[-1] == 0
    assert max(before - after for before, after in pairwise(sizes)) <= 11, "ten, and their job"
    assert _records(store, other.id) == sizes[0]


def _records(store: Store, dataset_id: str) -> int:
    """Counts the records of the dataset. Checks its counters, and that jobs with deleted results have expired."""
    with store.database.read() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset = datasets.get(dataset_id)
        assert dataset is not None
        photos = len(datasets.list_images(dataset_id))
        assert photos == dataset.lr_images + dataset.hr_images
        found = jobs.list_newest(before=None, limit=9, status=None, kind=None, dataset_id=dataset_id)
        results = sum(
            len(SampleRepository(session).list_items(job.id)) + SampleRepository(session).count_samples(job.id)
            for job in found
        )
        assert results == 30 * len(found) or all(job.expired_at for job in found)
        return photos + results + len(found)
