"""Fixtures: the application on a real store, called without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Settings
from tests.support.api import Api, AuthApi, serve_api, serve_auth_api


@pytest.fixture
def api(tmp_path: Path, redis_url: str) -> Iterator[Api]:
    settings = Settings(data_dir=tmp_path, redis_url=redis_url, max_image_pixels=4_000_000, max_file_bytes=10_000_000)
    with serve_api(settings) as api:
        yield api


@pytest.fixture
def auth_api(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[AuthApi]:
    """A service that requires tokens, on either database, because queries decide what is visible."""
    with serve_auth_api(database_url, redis_url, tmp_path) as auth_api:
        yield auth_api
