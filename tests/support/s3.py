"""A real S3 server: SeaweedFS, on this computer alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from config.process import die_with_parent

BUCKET = "patina-tests"
KEY, SECRET = "patina", "a secret of tests"
START_SECONDS = 60


@dataclass
class S3Server:
    """`environment` is what clients need."""

    url: str
    process: subprocess.Popen[bytes]
    bucket: str = BUCKET

    @property
    def environment(self) -> Mapping[str, str]:
        return s3_environment(self.url)


def s3_environment(url: str) -> Mapping[str, str]:
    """Returns the variables that clients of the server at `url` need."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
    }


def s3_command(folder: Path) -> tuple[list[str], str]:
    """Returns the command of a server with its files in `folder`, and its URL. The ports are free now."""
    config = folder / "s3.json"
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config.write_text(json.dumps({"identities": [identity]}))
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    command = [
        str(Path(sys.executable).with_name("weed")),
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        "-s3",
        f"-s3.config={config}",
        "-master.telemetry=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    return command, f"http://127.0.0.1:{ports['s3.port']}"


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Starts a server with its files in `folder`, and stops it at the end."""
    command, url = s3_command(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),  # noqa: PLW1509 - a test server
        )
    try:
        if not is_s3_ready(url, lambda: process.poll() is None):
            raise AssertionError((folder / "log").read_text()[-5000:])
        yield S3Server(url, process)
    finally:
        process.kill()
        process.wait()


def is_s3_ready(url: str, is_running: Callable[[], bool]) -> bool:
    """Waits until the server can store an object. Returns False if it ends, or takes too long."""
    import obstore  # noqa: PLC0415 - few tests need it
    from obstore.exceptions import GenericError  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    store = S3Store(
        BUCKET,
        endpoint=url,
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and is_running():
        try:
            obstore.put(store, "ready", b"")
        except GenericError:
            time.sleep(0.1)
        else:
            return True
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [int(opened.getsockname()[1]) for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
