"""A small trained model in a store, for tests whose workers run in the test's own process."""

from __future__ import annotations

from models.checkpoint import save_degradation
from store.model_files import DEGRADER
from store.store import Store
from tests.support.model_factories import make_degradation
from tests.support.store_factories import create_model


def store_small_model(store: Store, dataset: str) -> None:
    """Adds a model of scale 2, without noise and without an EDSR, to a dataset."""
    with store.blobs.scratch() as folder:
        save_degradation(make_degradation(2, None), folder / DEGRADER)
        files = {DEGRADER: store.blobs.put_file(folder / DEGRADER)}
    with store.database.write() as session:
        create_model(session, dataset, scale=2, files=files)
