"""Fixtures: one real service for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.running_service import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of a module: a start takes seconds, and killed processes are restarted."""
    with running_service(tmp_path_factory.mktemp("service") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    """A dataset with photos for a training, and with an untrained model."""
    dataset = service.create_photo_dataset()
    service.create_model(dataset)
    return dataset
