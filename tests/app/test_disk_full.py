"""A full disk: requests are rejected without a trace, and work again when space is free."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import pytest

from config.settings import Settings
from tests.support.api import Api, as_parts, serve_api
from tests.support.images import encode_image, make_png, make_zip

DISK_BYTES = 4 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "patina-test", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk requires root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def api(disk: Path, redis_url: str) -> Iterator[Api]:
    with serve_api(Settings(data_dir=disk, redis_url=redis_url, min_free_bytes=0)) as api:
        yield api


def many_small_images() -> dict[str, bytes]:
    """Far fewer bytes than the disk has, in more files than it has blocks."""
    tiny = (np.full((32, 32, 3), (number % 256, number // 256, 0), np.uint8) for number in range(1200))
    return {f"{number}_png": encode_image(pixels) for number, pixels in enumerate(tiny)}


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb") as opened, suppress(OSError):
        size = 2**20
        while size:
            try:
                os.posix_fallocate(opened.fileno(), opened.seek(0, os.SEEK_END), size)
            except OSError:
                size //= 2
    return filler


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("call", ["images", "degrade"])
def test_a_request_that_fills_the_disk_leaves_no_trace(api: Api, disk: Path, call: str, packed: bool) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    images = many_small_images()
    files = {"all_zip": make_zip({name.replace("_", "."): data for name, data in images.items()})} if packed else images
    assert sum(map(len, files.values())) < disk_usage(disk).free / 4
    before, free = api.find_traces(), disk_usage(disk).free
    parameters = {"role": "lr"} if call == "images" else {}
    response = api.http.post(f"/datasets/{dataset}/{call}", params=parameters, files=as_parts(files))
    assert (response.status_code, response.json()["code"]) == (507, "disk_full"), response.text
    assert api.find_traces() == before
    assert disk_usage(disk).free == free
    assert api.upload(dataset, "lr", a_png=make_png(64, 64)).status_code == 200


def test_a_full_disk_rejects_writes_until_space_is_freed(api: Api, disk: Path) -> None:
    dataset = api.create_dataset()

    def send_requests() -> list[Any]:
        created = api.http.post("/datasets", json={"name": "n" * 200, "scale": 4})
        return [created, api.upload(dataset, "lr", a_png=make_png(64, 64)), api.http.get("/ready")]

    filler = fill(disk)
    assert [response.status_code for response in send_requests()] == [503, 413, 503]
    shown = api.http.get(f"/datasets/{dataset}").json()
    assert shown["images"] == {"lr": 0, "hr": 0}, "reads still work"
    assert list(api.store.blobs.temporary.iterdir()) == []
    filler.unlink()
    assert [response.status_code for response in send_requests()[:2]] == [201, 200]
