"""Records for tests: jobs, models, and a store with rows in most tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from store.db.tables import Job, Model
from store.ids import new_id
from store.repositories.datasets import DatasetRepository, NewImage
from store.repositories.jobs import JobRepository, Progress
from store.repositories.models import CheckpointRepository, ModelRepository
from store.repositories.samples import NewItem, NewSample, SampleRepository
from store.repositories.tokens import TokenRepository
from store.store import Store

UNITS = {"degrade": "samples", "sr": "images", "train": "steps"}


def create_job(session: Session, kind: str, **fields: Any) -> Job:
    """Creates a queued job of one unit, with no dataset unless `fields` name one."""
    unit = UNITS.get(kind, "images")
    defaults: dict[str, Any] = {"dataset_id": None, "model_id": None, "parameters": {}, "unit": unit, "total": 1}
    return JobRepository(session).create(kind, **defaults | fields)


def create_claimed_job(session: Session, kind: str, *, lease: float = 60, **fields: Any) -> Job:
    """Creates a job and claims it for `lease` seconds."""
    job = JobRepository(session).claim(create_job(session, kind, **fields).id, "a worker", lease)
    assert job is not None
    return job


def claim_new_job(store: Store) -> Job:
    """Creates an sr job and claims it for ten seconds."""
    with store.database.write() as session:
        return create_claimed_job(session, "sr", lease=10)


def create_ended_training(
    store: Store, dataset_id: str, status: str = "succeeded", *, steps: Sequence[int] = (1,), **fields: Any
) -> str:
    """Creates a training that was finished early and ended with this status, with a checkpoint at each step."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        job = create_claimed_job(session, "train", dataset_id=dataset_id, **{"total": 9, **fields})
        jobs.request_finish(job.id)
        for step in steps:
            sha256 = store.blobs.put(f"step {step} of {job.id}".encode())
            CheckpointRepository(session).put(job.id, step=step, seconds=step / 10, sha256=sha256)
        jobs.finish(job.id, job.attempt, status)
        return job.id


def create_model(session: Session, dataset_id: str, **fields: Any) -> Model:
    """Records a model of scale 4 without files, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "job_id": new_id(),
        "preset": "default",
        "scale": 4,
        "kernel_origin": (-8, -8),
        "steps": 1,
        "seconds": 1.0,
        "files": {},
        "history": [],
    }
    return ModelRepository(session).create(dataset_id=dataset_id, **defaults | fields)


def fill_store(store: Store) -> str:
    """Adds rows to most tables, with a running job, whose id it returns."""
    put = store.blobs.put
    with store.database.write() as session:
        TokenRepository(session).create("alice", "submit")
        datasets = DatasetRepository(session)
        dataset = datasets.create("photos — ü", 4)
        datasets.add_images(dataset.id, "hr", [NewImage("a.png", put(b"a photo"), 1, 1)])
        job = create_claimed_job(session, "degrade", dataset_id=dataset.id, parameters={"seed": 7}, total=2)
        SampleRepository(session).add_items(job.id, [("a", NewItem("a.png", put(b"an input")))])
        sample = NewSample(0, 0, {"lr": put(b"lr"), "kernel": put(b"kernel")})
        JobRepository(session).record(job.id, job.attempt, Progress(1, 2, 1.5, None), [sample])
        CheckpointRepository(session).put(job.id, step=1, seconds=1, sha256=put(b"a checkpoint"))
        create_model(
            session,
            dataset.id,
            job_id=job.id,
            files={"degrader.safetensors": put(b"a degrader")},
            history=[{"step": 1.0}],
        )
        return job.id
