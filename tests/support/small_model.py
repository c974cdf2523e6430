"""A small trained model in a store, for tests whose workers run in the test's own process."""

from __future__ import annotations

from models.checkpoint import save_degradation, save_edsr
from store.model_files import DEGRADER, SR
from store.store import Store
from tests.support.model_factories import make_degradation, make_edsr
from tests.support.store_factories import create_model


def store_small_model(store: Store, dataset: str) -> None:
    """Adds a model of scale 2, without noise, to a dataset."""
    with store.blobs.scratch() as folder:
        save_degradation(make_degradation(2, None), folder / DEGRADER)
        save_edsr(make_edsr(2, global_skip=True), folder / SR)
        files = {name: store.blobs.put_file(folder / name) for name in (DEGRADER, SR)}
    with store.database.write() as session:
        create_model(session, dataset, scale=2, files=files)
