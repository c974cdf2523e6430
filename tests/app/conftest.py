"""The application on a real store, called without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from config.settings import Settings
from store.db.database import Database
from store.db.migrate import migrate
from store.repositories.models import ModelRepository
from store.repositories.tokens import TokenRepository
from store.store import Store


@dataclass
class Api:
    """A client, its store, and the first steps of most tests."""

    http: TestClient
    store: Store
    settings: Settings

    def dataset(self, scale: int = 4) -> str:
        response = self.http.post("/datasets", json={"name": "photos", "scale": scale})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def upload(self, dataset: str, role: str, **files: bytes) -> Any:
        return self.http.post(f"/datasets/{dataset}/images", params={"role": role}, files=as_parts(files))

    def model(self, dataset: str) -> str:
        """Records a model without training one; its files are never opened."""
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
        """Returns everything that a rejected request could leave behind."""
        return {
            "jobs": self.http.get("/jobs").json()["items"],
            "blobs": sorted(self.store.blobs.iter_older_than(-60)),
            "temporary": list(self.store.blobs.temporary.iterdir()),
        }


def as_parts(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Returns the parts of a multipart form; `a_png=` becomes the file a.png."""
    return [("files", (name.replace("_", "."), data)) for name, data in files.items()]


@pytest.fixture
def api(tmp_path: Path, redis_url: str) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, max_image_pixels=4_000_000, max_file_bytes=10_000_000)
    with serving(settings) as api:
        yield api


@contextmanager
def serving(settings: Settings) -> Iterator[Api]:
    """Serves the application with these settings and a new database."""
    database = Database(settings.database)
    migrate(database)
    database.close()
    app = create_app(settings)
    with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
        yield Api(client, app.state.store, settings)


@dataclass
class AuthApi:
    """A service that requires tokens, and named callers with one token each."""

    http: TestClient
    store: Store
    settings: Settings
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, name: str, scope: str = "submit") -> str:
        if name not in self.tokens:
            with self.store.database.write() as session:
                self.tokens[name] = TokenRepository(session).create(name, scope).secret
        return self.tokens[name]

    def token_id(self, who: str) -> str:
        secret = self.token(who)
        with self.store.database.read() as session:
            token = TokenRepository(session).verify(secret)
        assert token is not None
        return token.id

    def call(self, who: str, method: str, path: str, **request: Any) -> Any:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.token(who)}"}, **request)

    def dataset(self, who: str) -> str:
        response = self.call(who, "POST", "/datasets", json={"name": who, "scale": 4})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])


def open_auth_api(database_url: str, redis_url: str, data_dir: Path, **more: object) -> Iterator[AuthApi]:
    settings = Settings.model_validate(
        {"data_dir": data_dir, "database_url": database_url, "redis_url": redis_url, "require_tokens": True, **more}
    )
    app = create_app(settings)
    with TestClient(app, base_url="http://patina.example", raise_server_exceptions=False) as client:
        migrate(app.state.store.database)
        yield AuthApi(client, app.state.store, settings)


@pytest.fixture
def auth_api(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[AuthApi]:
    """A service that requires tokens, on either database, because queries decide what is visible."""
    yield from open_auth_api(database_url, redis_url, tmp_path)
