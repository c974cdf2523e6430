from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from patina.client.photo_files import BATCH_FILES, LazyFile, batches, photo_files
from patina.errors import PatinaError


def written(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_finds_photos_to_the_depths_of_a_folder(tmp_path: Path) -> None:
    written(tmp_path, "b.JPG", "a/c.png", "a/notes.txt", ".hidden/d.png", "more.zip")
    assert [name for name, _ in photo_files([tmp_path])] == ["a/c.png", "b.JPG", "more.zip"]


def test_takes_a_file_that_is_named_outright(tmp_path: Path) -> None:
    assert photo_files([written(tmp_path, "odd.raw") / "odd.raw"]) == [("odd.raw", tmp_path / "odd.raw")]


def test_says_what_it_looked_for_when_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(PatinaError, match=r"No photos in .*\.png"):
        photo_files([tmp_path])
    with pytest.raises(PatinaError, match=f"No photos in {tmp_path}"):
        photo_files(iter([tmp_path]))
    with pytest.raises(PatinaError, match="no file or folder"):
        photo_files([tmp_path / "missing"])


def test_batches_hold_all_in_order_and_not_too_much(tmp_path: Path) -> None:
    files = photo_files([written(tmp_path, *(f"{number:03}.png" for number in range(2 * BATCH_FILES + 1)))])
    cut = list(batches(files))
    assert [len(batch) for batch in cut] == [BATCH_FILES, BATCH_FILES, 1]
    assert [file for batch in cut for file in batch] == files


def test_a_request_with_thousands_of_photos_opens_one_at_a_time(tmp_path: Path) -> None:
    written(tmp_path, *(f"{number}.png" for number in range(300)))
    parts: Any = [("files", (path.name, LazyFile(path))) for path in sorted(tmp_path.iterdir())]
    request = httpx.Request("POST", "http://localhost/", files=parts)
    before = open_files()
    most = 0
    body = b""
    assert isinstance(request.stream, Iterable)
    for piece in request.stream:
        body += piece
        most = max(most, open_files() - before)
    assert most <= 2
    assert len(body) == int(request.headers["content-length"])
    assert b"\r\n\r\n299.png\r\n" in body
