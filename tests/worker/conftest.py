from __future__ import annotations

from collections.abc import Iterator

import pytest

from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.pictures import photos
from tests.worker.service import Service, running_service


def claimed(store: Store) -> Job:
    """One that a worker has just taken."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        job = jobs.create("sr", dataset_id=None, model_id=None, parameters={}, unit="images", total=1)
        running = jobs.claim(job.id, "worker", 10)
        assert running is not None
        return running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for a module's tests: starting it takes seconds, and what is killed comes back."""
    with running_service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    """A dataset with photos to train on and a model that need not be trained first."""
    dataset = service.dataset(lr=photos(3, 48), hr=photos(3, 160, seed=10))
    service.model(dataset)
    return dataset
