"""The application on a real store, called without a network between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from config.settings import Settings
from store.db.database import Database
from store.db.migrate import migrate
from store.repositories.models import ModelRepository
from store.store import Store


@dataclass
class Api:
    """A client, the store behind it, and the steps that most tests begin with."""

    http: TestClient
    store: Store
    settings: Settings

    def dataset(self, scale: int = 4) -> str:
        answer = self.http.post("/datasets", json={"name": "photos", "scale": scale})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def upload(self, dataset: str, role: str, **files: bytes) -> Any:
        return self.http.post(f"/datasets/{dataset}/images", params={"role": role}, files=as_parts(files))

    def model(self, dataset: str) -> str:
        """Records a model without training one; its files are never opened here."""
        with self.store.database.write() as session:
            model = ModelRepository(session).create(
                dataset_id=dataset,
                job_id=f"job-{dataset}"[:26],
                preset="default",
                scale=4,
                kernel_origin=(-8, -8),
                steps=1,
                seconds=1.0,
                files={"degrader.safetensors": self.store.blobs.put(b"a degrader")},
                history=[{"step": 1.0, "spectral": 0.5}],
            )
            return model.id

    def traces(self) -> dict[str, Any]:
        """Everything that a refused request could have left behind."""
        return {
            "jobs": self.http.get("/jobs").json()["items"],
            "blobs": sorted(self.store.blobs.older_than(-60)),
            "temporary": list(self.store.blobs.temporary.iterdir()),
        }


def as_parts(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Parts of a multipart form; `a_png=` becomes the file a.png."""
    return [("files", (name.replace("_", "."), data)) for name, data in files.items()]


@pytest.fixture
def api(tmp_path: Path, redis_url: str) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, max_image_pixels=4_000_000, max_file_bytes=10_000_000)
    with serving(settings) as api:
        yield api


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """The application with these settings, its database made."""
    database = Database(settings.database)
    migrate(database)
    database.close()
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield Api(client, app.state.store, settings)
