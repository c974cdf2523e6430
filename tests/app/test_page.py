"""The page where tokens are required."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from config.settings import Settings
from store.bootstrap import ADMIN_TOKEN_FILE, prepare_database


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    created = Settings(data_dir=tmp_path, redis_url=redis_url, require_tokens=True)
    prepare_database(created)
    return created


def test_the_session_cookie_works_but_not_for_other_origins(settings: Settings) -> None:
    token = (settings.data_dir / ADMIN_TOKEN_FILE).read_text().strip()
    with TestClient(create_app(settings)) as browser:
        assert "<main" in browser.get("/").text
        assert browser.get("/datasets").status_code == 401
        response = browser.post("/page/session", json={"token": token})
        assert response.status_code == 204
        assert {"HttpOnly", "SameSite=strict"} <= set(response.headers["set-cookie"].split("; "))
        assert browser.get("/datasets").status_code == 200
        payload = {"name": "photos", "scale": 4}
        assert browser.post("/datasets", json=payload).status_code == 201
        cross_origin = browser.post("/datasets", json=payload, headers={"Origin": "https://elsewhere.example"})
        assert cross_origin.json()["code"] == "cross_origin"


@pytest.mark.parametrize("path", ["/page/%2e%2e/pyproject.toml", "/page/..%2fpyproject.toml", "/page/__init__.py"])
def test_only_page_files_are_served(settings: Settings, path: str) -> None:
    with TestClient(create_app(settings)) as browser:
        assert browser.get(path).status_code == 404


def test_a_wrong_token_is_rejected(settings: Settings) -> None:
    with TestClient(create_app(settings)) as browser:
        browser.post("/page/session", json={"token": "patina_nonsense"})
        assert browser.get("/datasets").json()["code"] == "invalid_token"
