"""Continuing a training that was finished early, while no worker runs."""

from __future__ import annotations

import os
import time

import pytest

from store.files.gc import collect_garbage
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository
from tests.support.api import Api
from tests.support.store_factories import create_ended_training

PARAMETERS = {"preset": "default", "scale": 4, "seed": 7, "max_steps": 50, "max_minutes": None}
STEPS = (20, 10)


@pytest.fixture
def ended(api: Api) -> str:
    """A training that was finished early, with checkpoints that expire at once."""
    dataset = api.create_dataset()
    return create_ended_training(
        api.store, dataset, steps=STEPS, parameters=PARAMETERS, total=50, retention_seconds=0.01
    )


def test_a_continued_training_outlives_the_first_one(api: Api, ended: str) -> None:
    response = api.http.post(f"/jobs/{ended}/continue")
    assert response.status_code == 202
    continued = response.json()
    assert continued["id"] != ended
    assert (continued["status"], continued["ended_early"], continued["parameters"]) == ("queued", False, PARAMETERS)
    assert continued["progress"]["total"] == 50
    assert continued["id"] in api.store.queue.queued_ids()
    assert api.http.get(f"/jobs/{ended}").json()["status"] == "succeeded"

    time.sleep(0.05)
    with api.store.database.write() as session:
        assert JobRepository(session).expire() == [ended]
    assert api.http.get(f"/jobs/{ended}").json()["expires"] is not None
    late = api.http.post(f"/jobs/{ended}/continue")
    assert (late.status_code, late.json()["code"]) == (410, "checkpoint_expired")
    preview = api.http.get(f"/jobs/{ended}/preview/gallery.json")
    assert (preview.status_code, preview.json()["code"]) == (410, "preview_expired")
    for sha256 in api.store.blobs.iter_older_than(-60):
        os.utime(api.store.blobs.path(sha256), (0, 0))
    collect_garbage(api.store.database, api.store.blobs, older_than_seconds=50)
    with api.store.database.write() as session:
        assert JobRepository(session).claim(continued["id"], "the first worker", 60) is not None
        kept = CheckpointRepository(session).list_for_job(continued["id"])
    assert [(checkpoint.step, checkpoint.seconds, api.store.blobs.read(checkpoint.sha256)) for checkpoint in kept] == [
        (step, step / 10, f"step {step} of {ended}".encode()) for step in STEPS
    ]


def test_a_continued_training_can_be_canceled_and_retried(api: Api, ended: str) -> None:
    continued = api.http.post(f"/jobs/{ended}/continue").json()["id"]
    assert api.http.post(f"/jobs/{continued}/cancel").json()["status"] == "canceled"
    assert api.http.post(f"/jobs/{continued}/continue").json()["code"] == "not_ended_early"
    assert api.http.post(f"/jobs/{continued}/retry").json()["status"] == "queued"
    with api.store.database.read() as session:
        assert len(CheckpointRepository(session).list_for_job(continued)) == len(STEPS)
    assert api.http.post(f"/jobs/{ended}/continue").json()["id"] != continued
