"""Settings that depend on several variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import make_url

from config.cpus import usable_cpus
from config.settings import Settings
from imaging.decoder_pool import DecoderPool


def test_passwords_come_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a/b@c:d%e \n")
    settings = Settings(
        database_url="postgresql+psycopg://patina@postgres/patina",
        database_password_file=secret,
        redis_url="redis://valkey:6379/0",
        redis_password_file=secret,
    )
    url = make_url(settings.database)
    assert (url.username, url.password, url.host, url.database) == ("patina", "a/b@c:d%e", "postgres", "patina")
    redis = make_url(settings.redis)
    assert (redis.password, redis.host, redis.port, redis.database) == ("a/b@c:d%e", "valkey", 6379, "0")


def test_loopback_needs_no_token() -> None:
    for host, needed in {"127.0.0.1": False, "::1": False, "localhost": False, "0.0.0.0": True, "::": True}.items():
        assert Settings(host=host).tokens_needed is needed
    assert Settings(host="127.0.0.1", require_tokens=True).tokens_needed


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({}, 64),
    ],
)
def test_threads_follow_affinity_and_cgroup(
    files: dict[str, str], quota: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    for allowed in (1, 2, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, allowed=allowed: set(range(allowed)))
        assert usable_cpus(tmp_path) == min(allowed, quota)


def test_decoders_and_threads_follow_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    settings = Settings()
    decoders = DecoderPool(settings)
    assert (settings.torch_threads, decoders.processes) == (1, 1)
    decoders.close()
