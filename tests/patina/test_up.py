"""`patina up` with real processes: it says where it is, mends what dies, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx

from tests.patina.conftest import Up, alive, descendants
from tests.wait_until import soon


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_starts_mends_refuses_and_stops(up: Up) -> None:
    up.environment |= {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}  # not for what is here
    running = up.start()
    assert httpx.get(f"{running.url}/ready").status_code == 200

    second = up.command("up", "--port", "0")
    assert second.returncode == 1
    assert f"already runs on {up.data_dir} at {running.url}" in " ".join(second.stderr.split())

    api = next(pid for pid in descendants(running.pid) if "-m app" in name_of(pid))
    os.kill(api, signal.SIGKILL)
    assert soon(lambda: not alive(api))
    assert soon(lambda: answers(running.url)), "the API is started again"

    family = descendants(running.pid)
    assert len(family) >= 5
    assert up.signal(signal.SIGINT) == 0
    assert [pid for pid in family if alive(pid)] == []
    assert list(up.temporary.iterdir()) == [], "the socket and its folder are gone"
    assert not (up.data_dir / "service.json").exists()
    assert up.process
    assert up.process.stdout
    assert up.process.stdout.read() == f"Patina is ready at {running.url}, docs at {running.url}/docs\n"


def test_killed_it_leaves_no_orphan_and_starts_again(up: Up) -> None:
    running = up.start()
    family = descendants(running.pid)
    assert len(family) >= 5
    up.signal(signal.SIGKILL)
    assert soon(lambda: not any(alive(pid) for pid in family))

    again = up.start()
    assert httpx.get(f"{again.url}/ready").status_code == 200


def test_a_taken_port_is_said_in_words_before_anything_starts(up: Up) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = up.command("up", "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} (Address already in use). Choose another port" in " ".join(refused.stderr.split())
    assert not (up.data_dir / "patina.sqlite").exists()


def test_a_database_that_cannot_be_reached_is_said_in_words(up: Up) -> None:
    up.environment["PATINA_DATABASE_URL"] = "postgresql+psycopg://nobody@127.0.0.1:9/nothing"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "PATINA_DATABASE_URL says which database is used" in " ".join(refused.stderr.split())
    assert list(up.temporary.iterdir()) == []


def test_a_queue_that_does_not_answer_is_said_in_words(up: Up) -> None:
    up.environment["PATINA_REDIS_URL"] = "redis://127.0.0.1:9"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "Nothing answers at PATINA_REDIS_URL" in " ".join(refused.stderr.split())


def test_a_setting_or_a_folder_that_cannot_be_is_said_in_words(up: Up) -> None:
    up.environment["PATINA_DATA_DIR"] = "/proc/nowhere"
    assert "Cannot write to /proc/nowhere" in up.command("up").stderr
    up.environment["PATINA_PORT"] = "many"
    refused = up.command("jobs")
    assert refused.returncode == 1
    assert refused.stderr.startswith("PATINA_PORT: Input should be a valid integer")


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
