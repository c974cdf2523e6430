"""Caddy as a reverse proxy or load balancer in front of APIs."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

CADDY = Path(sys.executable).with_name("caddy")
START_SECONDS = 30


def find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running_caddy(folder: Path, site: str) -> Iterator[str]:
    """Runs Caddy with these directives of a Caddyfile. Yields its URL."""
    port = find_free_port()
    caddyfile = folder / "Caddyfile"
    caddyfile.write_text(f"{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n{site}\n}}\n")
    command = [str(CADDY), "run", "--config", str(caddyfile), "--adapter", "caddyfile"]
    environment = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            try:
                httpx.get(url)
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(START_SECONDS)
