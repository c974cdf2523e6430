"""How the page lets people in where tokens are needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from config.settings import Settings
from store.bootstrap import FIRST_TOKEN_FILE, open_database


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    made = Settings(data_dir=tmp_path, redis_url=redis_url, require_tokens=True)
    open_database(made)
    return made


def test_a_token_given_once_is_sent_by_the_browser_but_not_for_other_sites(settings: Settings) -> None:
    token = (settings.data_dir / FIRST_TOKEN_FILE).read_text().strip()
    with TestClient(create_app(settings)) as browser:
        assert "<main" in browser.get("/").text
        assert browser.get("/datasets").status_code == 401
        answer = browser.post("/page/session", json={"token": token})
        assert answer.status_code == 204
        assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert browser.get("/datasets").status_code == 200
        wanted = {"name": "photos", "scale": 4}
        assert browser.post("/datasets", json=wanted).status_code == 201
        elsewhere = browser.post("/datasets", json=wanted, headers={"Origin": "https://elsewhere.example"})
        assert elsewhere.json()["code"] == "cross_origin"


@pytest.mark.parametrize("path", ["/page/%2e%2e/pyproject.toml", "/page/..%2fpyproject.toml", "/page/__init__.py"])
def test_nothing_is_served_but_the_page(settings: Settings, path: str) -> None:
    with TestClient(create_app(settings)) as browser:
        assert browser.get(path).status_code == 404


def test_a_wrong_token_is_no_token(settings: Settings) -> None:
    with TestClient(create_app(settings)) as browser:
        browser.post("/page/session", json={"token": "patina_nonsense"})
        assert browser.get("/datasets").json()["code"] == "invalid_token"
