"""A training uses the photos that are fit for it, and its log names the others."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from structlog.testing import capture_logs

from config.settings import Settings
from store.db.tables import Job
from store.repositories.datasets import DatasetRepository, NewImage
from store.store import Store
from tests.support.images import encode_image
from tests.support.scenes import make_scene
from tests.support.store_factories import create_claimed_job
from worker.jobs.photo_selection import select_photos
from worker.jobs.train_process import TrainingAttempt
from worker.maintenance.check_photos import CheckPhotos
from worker.runtime.outcome import JobFailedError

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SIDE = 200

Pixels = NDArray[np.uint8]


def add_photos(store: Store, dataset: str, role: str, photos: dict[str, Pixels]) -> None:
    images = [
        NewImage(name, store.blobs.put(encode_image(pixels)), pixels.shape[1], pixels.shape[0])
        for name, pixels in photos.items()
    ]
    with store.database.write() as session:
        DatasetRepository(session).add_images(dataset, role, images)


def make_enlarged(seed: int) -> Pixels:
    small = Image.fromarray(make_scene(SIDE, SIDE, seed)).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


@pytest.fixture
def dataset(store: Store) -> str:
    """A dataset with three good photos of each role, and a few that are not."""
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 2).id
    framed = np.concatenate(
        [np.zeros((40, SIDE, 3), np.uint8), make_scene(SIDE, SIDE, 7), np.zeros((40, SIDE, 3), np.uint8)]
    )
    good = {f"good {n}": make_scene(SIDE, SIDE, n) for n in range(3)}
    bad = {"enlarged": make_enlarged(8), "flat": np.full((SIDE, SIDE, 3), 50, np.uint8), "framed": framed}
    add_photos(store, dataset, "lr", good | bad)
    add_photos(store, dataset, "hr", {f"clean {n}": make_scene(SIDE, SIDE, 10 + n) for n in range(3)})
    return dataset


def select_names(store: Store, dataset: str, mode: str, role: str = "lr") -> list[str]:
    return [image.name for image in select_photos(store, dataset, mode, threading.Event())[role].images]


def test_photos_that_mislead_are_left_out(store: Store, dataset: str) -> None:
    with capture_logs() as logs:
        selection = select_photos(store, dataset, "leave_out", threading.Event())["lr"]
    assert [image.name for image in selection.images] == ["good 0", "good 1", "good 2", "framed"]
    assert selection.to_report() == {
        "used": 4,
        "left_out": {"enlarged": 1, "flat": 1},
        "warnings": {"black_bars": 1},
    }
    named = {line["name"]: line["event"] for line in logs if "name" in line}
    assert named == {"enlarged": "photo left out", "flat": "photo left out", "framed": "photo doubtful"}


def test_all_photos_are_used_if_asked_for(store: Store, dataset: str) -> None:
    for mode in ("warn", "off"):
        assert len(select_names(store, dataset, mode)) == 6


def test_black_bars_are_cut_off_before_a_training(store: Store, dataset: str, tmp_path: Path) -> None:
    with store.database.write() as session:
        parameters = {"preset": "default", "scale": 2, "photo_checks": "leave_out"}
        job: Job = create_claimed_job(session, "train", dataset_id=dataset, parameters=parameters)
    attempt = TrainingAttempt(store, Settings(data_dir=tmp_path), job, threading.Event())
    attempt.selections = attempt._select_photos()
    photos = attempt._decode_photos("lr", tmp_path / "decoded")
    height, width, _ = photos[3].shape
    assert (height, width) == (SIDE - 10, SIDE)  # bars of 40 pixels, and their edges: up to 48 and 42
    np.testing.assert_array_equal(photos[3], make_scene(SIDE, SIDE, 7)[8:-2])


def test_a_training_without_a_photo_says_why(store: Store) -> None:
    with store.database.write() as session:
        dataset = DatasetRepository(session).create("photos", 2).id
    add_photos(store, dataset, "lr", {f"{n}": np.full((SIDE, SIDE, 3), n, np.uint8) for n in (20, 120)})
    with pytest.raises(JobFailedError, match=r"No real photo is left of 2 \(2 flat\)") as error:
        select_photos(store, dataset, "leave_out", threading.Event())
    assert error.value.code == "photos_unusable"


def test_new_photos_are_checked_in_the_background(store: Store, dataset: str, tmp_path: Path) -> None:
    CheckPhotos(store, Settings(data_dir=tmp_path)).run()
    with store.database.read() as session:
        images = DatasetRepository(session).list_images(dataset)
    assert {
        image.name: [finding["code"] for finding in image.findings or ()] for image in images if image.findings
    } == {
        "enlarged": ["enlarged"],
        "flat": ["flat"],
        "framed": ["black_bars"],
    }
    assert all(image.findings is not None for image in images)
