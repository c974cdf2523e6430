"""The application on a real store, called without a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from app.main import create_app
from config.settings import Settings
from store.db.database import Database
from store.db.migrate import migrate
from store.repositories.jobs import JobRepository, Progress
from store.repositories.samples import NewSample
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.images import make_png, make_zip
from tests.support.store_factories import create_model

FILES = {"lr": "png", "kernel": "npy", "noise": "npy"}  # of one sample


@dataclass
class Api:
    """A client, its store, and the first steps of most tests."""

    http: TestClient
    store: Store
    settings: Settings

    def create_dataset(self, scale: int = 4) -> str:
        response = self.http.post("/datasets", json={"name": "photos", "scale": scale})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def upload(self, dataset: str, role: str, **files: bytes) -> Any:
        return self.http.post(f"/datasets/{dataset}/images", params={"role": role}, files=as_parts(files))

    def create_model(self, dataset: str) -> str:
        """Records a model without training one; its files are never opened."""
        with self.store.database.write() as session:
            files = {"degrader.safetensors": self.store.blobs.put(b"a degrader")}
            return create_model(session, dataset, files=files, history=[{"step": 1.0, "spectral": 0.5}]).id

    def degrade(self, dataset: str, files: dict[str, bytes], **fields: object) -> str:
        response = self.http.post(f"/datasets/{dataset}/degrade", files=as_parts(files), data=fields)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def finish(self, job: str, *samples: NewSample, status: str = "succeeded") -> None:
        """Records results as a worker does."""
        with self.store.database.write() as session:
            jobs = JobRepository(session)
            claimed = jobs.claim(job, "a worker", 60)
            assert claimed is not None
            jobs.record(job, claimed.attempt, Progress(len(samples), claimed.total, 1.0, None), samples)
            jobs.finish(job, claimed.attempt, status)

    def find_traces(self) -> dict[str, Any]:
        """Returns everything that a rejected request could leave behind."""
        return {
            "jobs": self.http.get("/jobs").json()["items"],
            "blobs": sorted(self.store.blobs.iter_older_than(-60)),
            "temporary": list(self.store.blobs.temporary.iterdir()),
        }


def as_parts(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    """Returns the parts of a multipart form; `a_png=` becomes the file a.png."""
    return [("files", (name.replace("_", "."), data)) for name, data in files.items()]


@contextmanager
def serve_api(settings: Settings) -> Iterator[Api]:
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

    def get_token(self, name: str, scope: str = "submit") -> str:
        if name not in self.tokens:
            with self.store.database.write() as session:
                self.tokens[name] = TokenRepository(session).create(name, scope).secret
        return self.tokens[name]

    def get_token_id(self, who: str) -> str:
        secret = self.get_token(who)
        with self.store.database.read() as session:
            token = TokenRepository(session).verify(secret)
        assert token is not None
        return token.id

    def call(self, who: str, method: str, path: str, **request: Any) -> Any:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {self.get_token(who)}"}, **request)

    def create_dataset(self, who: str) -> str:
        response = self.call(who, "POST", "/datasets", json={"name": who, "scale": 4})
        assert response.status_code == 201, response.text
        return str(response.json()["id"])


@contextmanager
def serve_auth_api(database_url: str, redis_url: str, data_dir: Path, **more: object) -> Iterator[AuthApi]:
    """Serves the application with tokens required. `more` are further settings."""
    settings = Settings.model_validate(
        {"data_dir": data_dir, "database_url": database_url, "redis_url": redis_url, "require_tokens": True, **more}
    )
    app = create_app(settings)
    with TestClient(app, base_url="http://patina.example", raise_server_exceptions=False) as client:
        migrate(app.state.store.database)
        yield AuthApi(client, app.state.store, settings)


def create_archived_job(api: Api) -> tuple[str, dict[str, bytes]]:
    """Creates an ended job of two images with equal names: the first has two samples, the second failed.

    Returns its id and the files of its archive.
    """
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(
        dataset,
        {"x_zip": make_zip({"one/é 1.png": make_png(50, 40), "two/é 1.png": make_png(40, 50)})},
        samples=2,
        seed=7,
    )
    content = {f"{kind}/one/é 1_{n}.{suffix}": f"{kind}{n}".encode() for n in (0, 1) for kind, suffix in FILES.items()}
    put = api.store.blobs.put
    done = [NewSample(0, n, {kind: put(f"{kind}{n}".encode()) for kind in FILES}) for n in (0, 1)]
    failed = [NewSample(1, n, {}, "corrupt_image", "It is corrupt.") for n in (0, 1)]
    api.finish(job, *done, *failed)
    return job, content
