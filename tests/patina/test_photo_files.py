"""Which files the client sends, and in what portions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from patina.client.photo_files import MAX_BATCH_FILES, LazyFile, find_photo_files, split_batches
from patina.errors import PatinaError


def write_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_folders_are_searched_recursively(tmp_path: Path) -> None:
    write_files(tmp_path, "b.JPG", "a/c.png", "a/notes.txt", ".hidden/d.png", "more.zip")
    assert [name for name, _ in find_photo_files([tmp_path])] == ["a/c.png", "b.JPG", "more.zip"]


def test_named_file_is_sent_with_any_suffix(tmp_path: Path) -> None:
    file = write_files(tmp_path, "odd.raw") / "odd.raw"
    assert find_photo_files([file]) == [("odd.raw", tmp_path / "odd.raw")]


def test_error_names_the_folder_and_the_supported_suffixes(tmp_path: Path) -> None:
    with pytest.raises(PatinaError, match=r"No photos in .*\.png"):
        find_photo_files([tmp_path])
    with pytest.raises(PatinaError, match=f"No photos in {tmp_path}"):
        find_photo_files(iter([tmp_path]))
    with pytest.raises(PatinaError, match="no file or folder"):
        find_photo_files([tmp_path / "missing"])


def test_batches_are_limited_and_keep_the_order(tmp_path: Path) -> None:
    names = (f"{number:03}.png" for number in range(2 * MAX_BATCH_FILES + 1))
    files = find_photo_files([write_files(tmp_path, *names)])
    batches = list(split_batches(files))
    assert [len(batch) for batch in batches] == [MAX_BATCH_FILES, MAX_BATCH_FILES, 1]
    assert [file for batch in batches for file in batch] == files


def test_request_with_many_photos_opens_one_at_a_time(tmp_path: Path) -> None:
    write_files(tmp_path, *(f"{number}.png" for number in range(300)))
    fields: Any = [("files", (path.name, LazyFile(path))) for path in sorted(tmp_path.iterdir())]
    request = httpx.Request("POST", "http://localhost/", files=fields)
    before = count_open_files()
    max_open = 0
    body = b""
    assert isinstance(request.stream, Iterable)
    for chunk in request.stream:
        body += chunk
        max_open = max(max_open, count_open_files() - before)
    assert max_open <= 2
    assert len(body) == int(request.headers["content-length"])
    assert b"\r\n\r\n299.png\r\n" in body
