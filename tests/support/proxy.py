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


def caddy_command(folder: Path, port: int, site: str) -> list[str]:
    """Returns the command of a Caddy on this port with these directives of a Caddyfile, which goes into `folder`."""
    caddyfile = folder / "Caddyfile"
    caddyfile.write_text(f"{{\n admin off\n auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n{site}\n}}\n")
    return [str(CADDY), "run", "--config", str(caddyfile), "--adapter", "caddyfile"]


def caddy_environment(folder: Path) -> dict[str, str]:
    """Returns the variables that keep Caddy's own files in `folder`."""
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}


@contextmanager
def running_caddy(folder: Path, site: str) -> Iterator[str]:
    """Runs Caddy with these directives of a Caddyfile. Yields its URL."""
    port = find_free_port()
    command = caddy_command(folder, port, site)
    process = subprocess.Popen(command, env=caddy_environment(folder), stderr=subprocess.DEVNULL)
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
