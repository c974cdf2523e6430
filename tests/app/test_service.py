"""The whole service: health, OpenAPI document, error format, and imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from app.datasets.schemas import TRAINING_PATCH, Preset
from config.settings import Settings
from tests.support.api import Api, serve_api
from training.presets import PRESET_NAMES, get_preset


def test_the_api_is_ready_without_workers_and_counts_them(api: Api) -> None:
    assert api.http.get("/health").json() == {"status": "ok"}
    ready = api.http.get("/ready")
    assert (ready.status_code, ready.json()["workers"]) == (200, {"warm": 0, "train": 0})
    trainers = [api.store.queue.heartbeat("train", name) for name in ("one", "two")]
    for trainer in trainers:
        trainer.ping()
    assert api.http.get("/ready").json()["workers"] == {"warm": 0, "train": 2}
    assert api.http.get("/health/workers").json() == {"warm": 0, "train": 2}


def test_readiness_names_the_part_that_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        response = api.http.get("/ready")
        assert response.status_code == 503
        return {part: state for part, state in response.json()["parts"].items() if state != "ok"}

    shutil.rmtree(api.store.blobs.temporary)
    assert missing().keys() == {"storage"}
    api.store.blobs.temporary.mkdir()
    monkeypatch.setattr(api.store.queue, "redis", Redis.from_url("unix:///nowhere"))
    counted = api.http.get("/health/workers")
    assert (counted.status_code, counted.json()["code"]) == (503, "queue_unavailable")
    assert missing().keys() == {"queue"}
    monkeypatch.undo()
    api.store.database.close()
    (api.settings.data_dir / "patina.sqlite").write_bytes(b"no database at all\n" * 1000)
    assert missing().keys() == {"database"}


def test_a_request_without_a_free_connection_may_retry(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_api(Settings(data_dir=tmp_path, redis_url=redis_url, database_connections=2)) as api:
        database = api.store.database
        monkeypatch.setattr(database.engine.pool, "_timeout", 0.1)  # seconds; otherwise 30
        with database.read() as one, database.read() as two, capture_logs() as logs:
            one.connection(), two.connection()
            refused = api.http.post("/datasets", json={"name": "photos", "scale": 4})
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        (warning,) = [line["error"] for line in logs if line["event"] == "database unavailable"]
        assert "PATINA_DATABASE_CONNECTIONS" in warning
        assert api.http.get("/datasets").json()["items"] == []
        api.create_dataset()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/datasets", 405)])
def test_framework_errors_are_problem_details(api: Api, method: str, path: str, status: int) -> None:
    response = api.http.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["code"]


def test_every_request_body_has_an_example(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]

    def has_example(content: dict[str, Any]) -> bool:
        if "example" in content:
            return True
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        return "example" in schemas.get(name, {})

    bodies = [
        (path, method, content)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]
    assert len(bodies) == 10
    assert [(path, method) for path, method, content in bodies if not has_example(content)] == []


def test_openapi_has_problem_details_for_every_error(api: Api) -> None:
    document = api.http.get("/openapi.json").json()
    contents = {
        (path, method, status): response["content"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status, response in operation["responses"].items()
        if status.startswith(("4", "5"))
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    assert len(contents) > 20
    assert [at for at, content in contents.items() if content != problem] == []
    assert "code" in document["components"]["schemas"]["ProblemDetails"]["properties"]


def test_the_api_never_imports_torch() -> None:
    code = "import app.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_presets_and_patch_size_equal_those_of_training() -> None:
    assert [name.value for name in Preset] == list(PRESET_NAMES)
    for name in PRESET_NAMES:
        config = get_preset(name, 4, device="cpu")
        assert (config.min_lr_side, config.min_hr_side) == (TRAINING_PATCH, 4 * TRAINING_PATCH)
