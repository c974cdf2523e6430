"""An export into the folder of an earlier one, from a mocked service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import lmdb
import pytest

from patina.client._sync.connection import Connection
from patina.client._sync.export import export_job
from patina.errors import PatinaError, ServiceError
from patina.export.basicsr import BasicsrFolders
from patina.export.formats import FORMATS, ExportFormat, write_pairs
from patina.export.pairs import read_pairs
from tests.support.images import make_png, make_tar

JOB: dict[str, Any] = {"id": "j", "model": "m", "counts": {"ok": 4}, "parameters": {}}


def export_shards(folder: Path, shards: int) -> None:
    """Exports a job with this number of shards; 0 means a job without an archive."""

    def respond(request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/jobs/j/archive" if shards == 0:
                return httpx.Response(409, json={"code": "no_archive", "detail": "It has no archive."})
            case "/jobs/j/archive":
                content = f"shard {request.url.params['shard']} of {shards}".encode()
                return httpx.Response(
                    200, headers={"Patina-Shards": str(shards), "Patina-Samples": "4"}, content=content
                )
            case "/models/m":
                return httpx.Response(200, json={"id": "m", "scale": 4})
            case _:
                return httpx.Response(404, json={"code": "no_report", "detail": "It has none."})

    with httpx.Client(transport=httpx.MockTransport(respond), base_url="http://patina") as http:
        size = 4 // max(shards, 1)
        counts = export_job(
            Connection(http), JOB, folder, "webdataset", validation=None, shard_size=size, on_pair=lambda _: None
        )
    assert counts == {None: 4}


def test_shards_of_an_earlier_export_are_deleted(tmp_path: Path) -> None:
    for name in (
        "train-notes.tar",
        "train-1.tar",
        "validation-000000.tar",
    ):  # another split or name
        (tmp_path / name).write_bytes(b"somebody else's")
    export_shards(tmp_path, 4)
    assert (tmp_path / "train-000003.tar").read_bytes() == b"shard 3 of 4"
    with pytest.raises(ServiceError, match="no archive"):
        export_shards(tmp_path, 0)
    assert (tmp_path / "train-000003.tar").exists(), "no new shard has replaced it"
    export_shards(tmp_path, 2)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.tar")} == {
        "train-000000.tar": b"shard 0 of 2",
        "train-000001.tar": b"shard 1 of 2",
        **dict.fromkeys(("train-notes.tar", "train-1.tar", "validation-000000.tar"), b"somebody else's"),
    }


def make_tar_of_pairs(*keys: str) -> Iterator[bytes]:
    members: dict[str, bytes] = {}
    for key in keys:
        members |= {
            f"{key}.hr.png": make_png(32, 32),
            f"{key}.json": json.dumps({"source": f"{key}.jpg"}).encode(),
            f"{key}.lr.png": make_png(8, 8),
        }
    yield make_tar(members)


def test_every_format_is_described() -> None:
    assert list(FORMATS) == list(ExportFormat)
    assert all(spec.help for spec in FORMATS.values())
    # The dataset card, which archives lack, has this sentence.
    assert all(spec.usage for spec in FORMATS.values() if not spec.is_archive)


def export_folders(folder: Path, *keys: str) -> None:
    write_pairs(make_tar_of_pairs(*keys), folder, ExportFormat.basicsr, 1000, lambda _: None)


def list_images(folder: Path) -> dict[str, list[str]]:
    return {name: sorted(file.name for file in (folder / name).iterdir()) for name in ("hr", "lr")}


def test_images_of_an_earlier_export_are_deleted(tmp_path: Path) -> None:
    export_folders(tmp_path, "a_0", "b_0", "c_0")
    export_folders(tmp_path, "b_0", "d_0")
    assert list_images(tmp_path) == {"hr": ["b_0.png", "d_0.png"], "lr": ["b_0.png", "d_0.png"]}
    assert (tmp_path / "meta_info_pairs.txt").read_text() == "b_0.png, b_0.png\nd_0.png, d_0.png\n"
    assert len((tmp_path / "manifest.jsonl").read_text().split()) == 2 * 2


def test_flat_formats_rename_pairs_of_folders(tmp_path: Path) -> None:
    """BasicSR searches no folders below, and its meta-info ends a name at a space."""
    export_folders(tmp_path, "a/frame 001_0", "a/frame%2E001_0", "b_1_0", "b/1_0")
    names = ["a_frame_001_0.png", "a_frame_001_0-2.png", "b_1_0.png", "b_1_0-2.png"]
    assert [line.split(" ")[0] for line in (tmp_path / "meta_info.txt").read_text().splitlines()] == names
    assert list_images(tmp_path)["lr"] == sorted(names)


@pytest.mark.parametrize("file_format", [ExportFormat.lmdb, ExportFormat.parquet])
def test_files_of_an_earlier_export_are_replaced(tmp_path: Path, file_format: ExportFormat) -> None:
    for keys in (("a_0", "b_0", "c_0"), ("d_0",)):
        write_pairs(make_tar_of_pairs(*keys), tmp_path, file_format, 1, lambda _: None)
    if file_format is ExportFormat.parquet:
        assert [file.name for file in (tmp_path / "data").iterdir()] == ["train-00000.parquet"]
        return
    with lmdb.open(str(tmp_path / "lr.lmdb"), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] == 1


def test_images_of_a_killed_export_are_deleted(tmp_path: Path) -> None:
    killed = BasicsrFolders(tmp_path).__enter__()  # __exit__ never runs
    for pair in read_pairs(make_tar_of_pairs("a_0", "b_0")):
        killed.add(pair)
    export_folders(tmp_path, "d_0")
    assert list_images(tmp_path) == {"hr": ["d_0.png"], "lr": ["d_0.png"]}


@pytest.mark.parametrize("listed", ["", "mine.png (32,32,3)\n"])
def test_images_of_other_origin_are_refused_and_kept(tmp_path: Path, listed: str) -> None:
    export_folders(tmp_path, "a_0")
    (tmp_path / "hr/mine.png").write_bytes(b"mine")
    with (tmp_path / "meta_info.txt").open("a") as file:  # other programs write this line too
        file.write(listed)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(PatinaError, match=r"wrote .*mine\.png"):
        export_folders(tmp_path, "b_0")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
