from __future__ import annotations

from collections.abc import Iterator

import pytest

from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.store import Store
from tests.pictures import make_photos
from tests.worker.service import Service, running_service


def claim_new_job(store: Store) -> Job:
    """Create an sr job and claim it."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        job = jobs.create("sr", dataset_id=None, model_id=None, parameters={}, unit="images", total=1)
        claimed = jobs.claim(job.id, "worker", 10)
        assert claimed is not None
        return claimed


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of a module: a start takes seconds, and killed processes are restarted."""
    with running_service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    """A dataset with photos for a training, and with an untrained model."""
    dataset = service.dataset(lr=make_photos(3, 48), hr=make_photos(3, 160, seed=10))
    service.model(dataset)
    return dataset
