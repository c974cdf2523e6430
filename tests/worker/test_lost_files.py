"""Files that are missing or corrupt when a worker needs them."""

from __future__ import annotations

import pytest

from config.settings import Settings
from imaging.rejections import ImageRejected
from store.db.tables import Item, Model
from store.model_files import DEGRADER, SR
from store.store import Store
from worker.jobs.items import PendingItem
from worker.runtime.context import WorkerContext
from worker.runtime.model_cache import edsr_for, samplers_for
from worker.runtime.outcome import JobFailedError


@pytest.mark.parametrize(("damage", "code"), [("lost", "stored_image_missing"), ("changed", "stored_image_corrupt")])
def test_an_unusable_image_has_its_own_code(store: Store, damage: str, code: str) -> None:
    sha256 = store.blobs.put(b"an image")
    damage_blob(store, sha256, damage)
    with pytest.raises(ImageRejected, match="Send it again") as caught:
        PendingItem(Item(name="a.png", sha256=sha256), [0]).verified_file(store.blobs)
    assert caught.value.code == code


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_an_unusable_model_fails_its_jobs(store: Store, damage: str) -> None:
    sha256 = store.blobs.put(b"weights")
    damage_blob(store, sha256, damage)
    model = Model(files={DEGRADER: sha256, SR: sha256})
    context = WorkerContext(store, Settings(data_dir=store.blobs.root.parent))
    for load in (samplers_for, edsr_for):
        with pytest.raises(JobFailedError, match="Restore it from a backup") as caught:
            load(context, model)
        assert caught.value.code == "model_corrupt"


def damage_blob(store: Store, sha256: str, how: str) -> None:
    if how == "lost":
        store.blobs.path(sha256).unlink()
    else:
        store.blobs.path(sha256).write_bytes(b"something else")
