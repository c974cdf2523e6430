"""A service that starts on a data folder of the last code with schema 0011 continues its work.

`tests/store/test_before_0012.py` says what is in the folder and how it was made.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.support.images import make_photos
from tests.support.old_folder import OldFolder, extract_old_folder
from tests.support.running_service import Service, running_service


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldFolder:
    return extract_old_folder(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def service(old: OldFolder) -> Iterator[Service]:
    with running_service(old.path) as running:
        yield running


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(png))).astype(np.int16)


def test_training_resumes_from_its_checkpoint(old: OldFolder, service: Service) -> None:
    """The queue's file still holds the entry of the old code, which names a function that is gone."""
    before = old.answers[f"/jobs/{old.ids['train']}"]
    assert before["status"] == "queued"
    job = service.wait_until_finished(old.ids["train"])
    assert (job["status"], job["attempt"], job["progress"]["done"]) == ("succeeded", before["attempt"] + 1, 24)
    (resumed,) = service.find_logs(job=job["id"], event="resuming from checkpoint")
    assert 0 < resumed["step"] < 24
    assert job["model"] is not None


def test_old_model_degrades_as_before(old: OldFolder, service: Service) -> None:
    """The same request gives the same images. Another CPU may round a value differently."""
    photos = make_photos(2, 64, seed=20)
    job = service.wait_until_finished(
        service.degrade(old.ids["dataset"], photos, samples=2, seed=7, model=old.ids["model"])
    )
    assert job["counts"] == {"ok": 4, "failed": 0}
    before, after = service.read_archive(old.ids["degrade"]), service.read_archive(job["id"])
    assert before.keys() == after.keys()
    for name in before:
        if name.startswith("lr/"):
            assert np.abs(pixels(before[name]) - pixels(after[name])).max() <= 1, name
