from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pictures import photos
from tests.worker.service import Service, running_service


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
