"""Files that are gone, or have changed on disk, when a worker needs them."""

from __future__ import annotations

import pytest

from config.settings import Settings
from imaging.image_files import ImageRefusedError
from store.db.tables import Item, Model
from store.store import Store
from worker.jobs.items import WaitingItem
from worker.runtime.context import WorkerContext
from worker.runtime.model_cache import DEGRADER, SR, edsr_of, makers_of
from worker.runtime.outcome import JobFailedError


@pytest.mark.parametrize(("damage", "code"), [("lost", "image_lost"), ("changed", "image_damaged")])
def test_an_image_is_named_and_the_others_go_on(store: Store, damage: str, code: str) -> None:
    sha256 = store.blobs.put(b"an image")
    damaged(store, sha256, damage)
    with pytest.raises(ImageRefusedError, match="send it again") as caught:
        WaitingItem(Item(name="a.png", sha256=sha256), [0]).file(store.blobs)
    assert caught.value.code == code


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_a_model_fails_its_jobs_in_words(store: Store, damage: str) -> None:
    sha256 = store.blobs.put(b"weights")
    damaged(store, sha256, damage)
    model = Model(files={DEGRADER: sha256, SR: sha256})
    context = WorkerContext(store, Settings(data_dir=store.blobs.root.parent))
    for networks_of in (makers_of, edsr_of):
        with pytest.raises(JobFailedError, match="Restore it from a backup") as caught:
            networks_of(context, model)
        assert caught.value.code == "model_damaged"


def damaged(store: Store, sha256: str, how: str) -> None:
    if how == "lost":
        store.blobs.path(sha256).unlink()
    else:
        store.blobs.path(sha256).write_bytes(b"something else")
