"""Which files the client sends, and in what portions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from patina.client.photo_files import MAX_BATCH_FILES, LazyFile, find_photo_files, search_photos, split_batches
from patina.errors import PatinaError
from tests.support.images import encode_image, make_picture, make_png, make_tar, make_zip


def write_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def write(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def count_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


PNG, ZIP = make_png(8, 8), make_zip({"a.png": b""})
NO_IMAGE = "not a PNG"


def names_in(*paths: Path) -> list[str]:
    return [name for name, _ in find_photo_files(paths)]


def test_photos_are_found_by_their_content(tmp_path: Path) -> None:
    photo, tgz = encode_image(make_picture(8, 8), "JPEG"), make_tar({"a.png": PNG}, "w:gz")
    photos = dict.fromkeys(("a/c.jfif", "b.HEIC"), photo) | dict.fromkeys(("a/d", "e.txt"), PNG)
    photos |= {"more.tgz": tgz, "x.tar.gz": tgz, "y.zip": ZIP}
    write(tmp_path, **photos)
    write(tmp_path, **{"notes.png": b"notes", "empty.jpg": b"", ".hidden/d.png": PNG, "a/.DS_Store": b"x"})
    (tmp_path / "broken.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    result = search_photos([tmp_path])
    assert [name for name, _ in result.found] == sorted(photos)
    reasons = {left_out.path.relative_to(tmp_path).as_posix(): left_out.reason for left_out in result.left_out}
    assert list(reasons) == [".hidden", "a/.DS_Store", "broken.png", "empty.jpg", "notes.png", "pipe.png"]
    assert [reason.split(".")[0] for reason in reasons.values()][:4] == [
        "Hidden folder",
        "Hidden file",
        "The link leads nowhere",
        "The file is empty",
    ]
    assert NO_IMAGE in reasons["notes.png"]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    """Also where links lead in circles."""
    inside, outside = tmp_path / "in", tmp_path / "out"
    write(inside, **{"a/1.png": PNG, "z/2.png": PNG})
    write(outside, **{"3.png": PNG})
    (inside / "b").symlink_to(outside)
    (inside / "c").symlink_to(inside / "z")
    (inside / "z/up").symlink_to(inside)
    (outside / "back").symlink_to(inside / "a")
    assert names_in(inside) == ["a/1.png", "b/3.png", "z/2.png"]
    left_out = search_photos([inside]).left_out
    assert [each.path.relative_to(inside).as_posix() for each in left_out] == ["b/back", "c", "z/up"]
    assert str(inside / "a") in left_out[0].reason


def test_names_distinguish_several_folders(tmp_path: Path) -> None:
    write(tmp_path, **{"one/1.png": PNG, "two/x/1.png": PNG})
    assert names_in(tmp_path / "one") == ["1.png"]
    assert names_in(tmp_path / "one", tmp_path / "two", tmp_path / "one/1.png") == ["one/1.png", "two/x/1.png", "1.png"]


def test_a_name_that_is_not_utf_8_is_sent(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")).write_bytes(PNG)
    assert names_in(tmp_path) == ["caf\N{REPLACEMENT CHARACTER}.png"]


def test_named_file_is_sent_with_any_content(tmp_path: Path) -> None:
    file = write_files(tmp_path, "odd.raw") / "odd.raw"
    assert find_photo_files([file]) == [("odd.raw", tmp_path / "odd.raw")]


def test_error_names_the_folder_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(PatinaError, match=f"No photos in {tmp_path}"):
        find_photo_files(iter([tmp_path]))
    write_files(tmp_path, "a.txt")
    with pytest.raises(PatinaError, match=rf"No photos in .*a\.txt: .*{NO_IMAGE}"):
        find_photo_files([tmp_path])
    with pytest.raises(PatinaError, match="no file or folder"):
        find_photo_files([tmp_path / "missing"])


def test_batches_are_limited_and_keep_the_order(tmp_path: Path) -> None:
    names = (f"{number:03}.png" for number in range(2 * MAX_BATCH_FILES + 1))
    files = [(file.name, file) for file in sorted(write_files(tmp_path, *names).iterdir())]
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
