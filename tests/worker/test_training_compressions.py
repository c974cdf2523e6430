"""A training generates photos with the compression that the uploaded files name."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from config.settings import Settings
from models.compression import Compression
from store.repositories.datasets import DatasetRepository, NewImage
from store.store import Store
from tests.support.scenes import make_scene
from tests.support.store_factories import create_claimed_job
from training.data.compressions import collect_compressions
from worker.jobs.train_process import TrainingAttempt

OWN = [[3 + n for n in range(64)], [9 + 2 * n for n in range(64)]]


def make_jpeg(seed: int, orientation: int) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image = Image.fromarray(make_scene(48, 64, seed))
    image.save(buffer, "JPEG", qtables=OWN, subsampling=1, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_has_the_tables_of_the_files(store: Store, tmp_path: Path) -> None:
    """Those of earlier uploads, too, whose rows do not say them."""
    with store.database.write() as session:
        datasets = DatasetRepository(session)
        dataset = datasets.create("photos", 2).id
        real = [
            NewImage(f"{n}.jpg", store.blobs.put(make_jpeg(n, orientation)), 64, 48)
            for n, orientation in enumerate((1, 6))
        ]
        datasets.add_images(dataset, "lr", real)
        parameters = {"preset": "default", "scale": 2, "seed": 0, "max_steps": 1, "max_minutes": None}
        job = create_claimed_job(session, "train", dataset_id=dataset, parameters=parameters)
    attempt = TrainingAttempt(store, Settings(data_dir=store.blobs.root.parent), job, threading.Event())
    attempt.selections = attempt._select_photos()
    bank = collect_compressions(attempt._decode_photos("lr", tmp_path))
    turned = [tuple(np.array(table).reshape(8, 8).T.ravel().tolist()) for table in OWN]
    luma, chroma = (tuple(table) for table in OWN)
    assert set(bank) == {
        Compression(luma, chroma, chroma, (2, 1)),
        Compression(turned[0], turned[1], turned[1], (1, 2)),
    }
