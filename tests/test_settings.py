"""Settings that depend on several variables."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from config.settings import Settings


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
