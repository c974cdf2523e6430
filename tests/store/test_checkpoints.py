"""A training keeps its newest two checkpoints. A blob is released when no job refers to it."""

from __future__ import annotations

from store.repositories.models import CheckpointRepository
from store.store import Store
from tests.support.store_factories import create_job


def training(store: Store) -> str:
    with store.database.write() as session:
        return create_job(session, "train", total=9).id


def put(store: Store, job_id: str, step: int, blob: str) -> list[str]:
    with store.database.write() as session:
        return CheckpointRepository(session).put(job_id, step=step, seconds=step, sha256=blob * 64)


def steps(store: Store, job_id: str) -> list[int]:
    with store.database.read() as session:
        return [checkpoint.step for checkpoint in CheckpointRepository(session).list_for_job(job_id)]


def test_newest_two_are_kept(store: Store) -> None:
    job_id = training(store)
    assert [put(store, job_id, step, blob) for step, blob in ((1, "a"), (2, "b"), (3, "c"))] == [[], [], ["a" * 64]]
    assert put(store, job_id, 3, "d") == ["c" * 64], "the same step again, as after a stop"
    assert put(store, job_id, 3, "d") == []
    assert steps(store, job_id) == [3, 2]


def test_deleted_checkpoint_takes_no_place(store: Store) -> None:
    job_id = training(store)
    for step, blob in ((10, "a"), (20, "b")):
        put(store, job_id, step, blob)
    with store.database.write() as session:
        CheckpointRepository(session).delete(job_id, 20)
    assert put(store, job_id, 15, "c") == []
    assert steps(store, job_id) == [15, 10]


def test_checkpoint_shared_with_another_job_is_kept(store: Store) -> None:
    ended, further = training(store), training(store)
    for job_id in (ended, further):
        for step, blob in ((1, "a"), (2, "b")):
            put(store, job_id, step, blob)
    assert put(store, further, 3, "c") == [], "the ended training can be resumed again"
    assert steps(store, ended) == [2, 1]
