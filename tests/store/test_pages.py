"""Consecutive pages of any size are the whole list in order, without duplicates or gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.store import Store
from tests.support.store_factories import create_claimed_job

WANTED = [(position, sample) for position in range(4) for sample in range(3)]


def all_pages(page: Callable[[Any, int], Sequence[Any]], cursor_of: Callable[[Any], Any], limit: int) -> list[Any]:
    rows: list[Any] = []
    while found := page(cursor_of(rows[-1]) if rows else None, limit):
        assert len(found) <= limit
        rows += found
    return rows


def test_pages_add_up(store: Store) -> None:
    with store.database.write() as session:
        datasets, jobs = DatasetRepository(session), JobRepository(session)
        dataset_ids = [datasets.create(f"dataset {n}", 4).id for n in range(7)]
        images = datasets.add_images(
            dataset_ids[0], "lr", [NewImage(f"{n}.png", f"{n:064x}", 40, 40) for n in range(9)]
        )
        job = create_claimed_job(session, "degrade", total=12)
        SampleRepository(session).add_items(job.id, [(f"image{n}", NewItem(f"{n}.png", f"{n:064x}")) for n in range(4)])
        samples = [NewSample(position, sample, {"lr": "a"}) for position, sample in reversed(WANTED)]
        jobs.record(job.id, job.attempt, Progress(12, 12, None, None), samples)
        names = [image.id for image in images]

    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(limit=st.integers(1, 15))
    def pages_of(limit: int) -> None:
        with store.database.read() as session:
            datasets, samples = DatasetRepository(session), SampleRepository(session)
            rows = all_pages(lambda at, most: datasets.list_newest(before=at, limit=most), lambda row: row.id, limit)
            assert [row.id for row in rows] == sorted(dataset_ids, reverse=True)
            rows = all_pages(
                lambda at, most: datasets.list_images(dataset_ids[0], role="lr", after=at, limit=most),
                lambda row: row.id,
                limit,
            )
            assert [row.id for row in rows] == sorted(names)
            found = all_pages(
                lambda at, most: samples.list_samples(job.id, after=at, limit=most),
                lambda row: (row[0].position, row[0].sample),
                limit,
            )
            assert [(sample.position, sample.sample) for sample, _ in found] == WANTED

    pages_of()
