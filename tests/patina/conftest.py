"""Fixtures: real services, each in its own folder."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from patina.client import Client
from patina.local.pidfile import read_pidfile
from tests.support.images import save_photos
from tests.support.local_service import LocalService, TrainedModel


@pytest.fixture
def up() -> Iterator[LocalService]:
    """A service for one test, not yet started."""
    # Not below pytest's own folder: a socket's path must stay short.
    root = Path(tempfile.mkdtemp(prefix="up-"))
    service = LocalService(root)
    yield service
    if service.process and service.process.poll() is None:
        service.process.terminate()
        service.process.wait(40)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def service() -> Iterator[LocalService]:
    """One running service, shared by all tests that neither stop nor damage it."""
    root = Path(tempfile.mkdtemp(prefix="up-"))
    service = LocalService(root)
    service.start()
    yield service
    service.signal(signal.SIGTERM)
    shutil.rmtree(root)


@pytest.fixture(scope="session")
def trained(service: LocalService, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """One model, shared by all tests."""
    folder = tmp_path_factory.mktemp("trained")
    lr, hr = save_photos(folder / "lr", 4, (48, 40)), save_photos(folder / "hr", 2, (150, 133))
    running = read_pidfile(service.data_dir)
    assert running
    with Client(running.url) as patina:
        dataset = patina.datasets.create("shared", scale=4)
        dataset.upload("lr", lr)
        dataset.upload("hr", hr)
        training = dataset.train(max_steps=2).wait()
        job = dataset.degrade(hr, samples=2, seed=7).wait()
        assert training.model
        degrader = patina.models.get(training.model).download(folder)
    return TrainedModel(running.url, dataset.id, training.model, job.id, hr, degrader)
