"""`patina up` with real processes: it prints its URL, restarts what exits, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import httpx

from config.settings import Settings
from patina.local.up import get_stop_seconds
from tests.support.local_service import LocalService, is_alive, list_descendants
from tests.support.wait_until import wait_until


def read_command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def test_start_restart_and_stop(up: LocalService) -> None:
    proxy = "http://127.0.0.1:9"  # local calls must ignore it
    up.environment |= {"HTTP_PROXY": proxy, "http_proxy": proxy}
    running = up.start()
    assert httpx.get(f"{running.url}/ready").status_code == 200

    second = up.command("up", "--port", "0")
    assert second.returncode == 1
    assert f"already runs on {up.data_dir} at {running.url}" in " ".join(second.stderr.split())

    api = next(pid for pid in list_descendants(running.pid) if "-m app" in read_command_line(pid))
    os.kill(api, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(api))
    assert wait_until(lambda: is_healthy(running.url)), "the API restarts"

    children = list_descendants(running.pid)
    assert len(children) >= 5
    assert up.signal(signal.SIGINT) == 0
    assert [pid for pid in children if is_alive(pid)] == []
    assert list(up.temporary.iterdir()) == [], "the socket and its folder are deleted"
    assert not (up.data_dir / "service.json").exists()
    assert up.process
    assert up.process.stdout
    assert up.process.stdout.read() == f"Patina is ready at {running.url}, docs at {running.url}/docs\n"


def test_processes_have_the_time_of_the_settings_to_end() -> None:
    assert get_stop_seconds(Settings(shutdown_grace_seconds=100)) > 100
    assert get_stop_seconds(Settings(drain_seconds=100)) > 105, "open requests have five seconds more"


def test_kill_leaves_no_orphan(up: LocalService) -> None:
    running = up.start()
    children = list_descendants(running.pid)
    assert len(children) >= 5
    up.signal(signal.SIGKILL)
    assert wait_until(lambda: not any(is_alive(pid) for pid in children))

    restarted = up.start()
    assert httpx.get(f"{restarted.url}/ready").status_code == 200


def test_taken_port_is_reported_before_anything_starts(up: LocalService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = up.command("up", "--port", str(port))
    assert refused.returncode == 1
    assert f"port {port} (Address already in use). Choose another port" in " ".join(refused.stderr.split())
    assert not (up.data_dir / "patina.sqlite").exists()


def test_unreachable_database_is_reported(up: LocalService) -> None:
    up.environment["PATINA_DATABASE_URL"] = "postgresql+psycopg://nobody@127.0.0.1:9/nothing"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "PATINA_DATABASE_URL says which database is used" in " ".join(refused.stderr.split())
    assert list(up.temporary.iterdir()) == []


def test_unreachable_queue_is_reported(up: LocalService) -> None:
    up.environment["PATINA_REDIS_URL"] = "redis://127.0.0.1:9"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "Nothing answers at PATINA_REDIS_URL" in " ".join(refused.stderr.split())


def test_invalid_setting_or_folder_is_reported(up: LocalService) -> None:
    up.environment["PATINA_DATA_DIR"] = "/proc/nowhere"
    assert "Cannot write to /proc/nowhere" in up.command("up").stderr
    up.environment["PATINA_PORT"] = "many"
    refused = up.command("jobs")
    assert refused.returncode == 1
    assert refused.stderr.startswith("PATINA_PORT: Input should be a valid integer")


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False
