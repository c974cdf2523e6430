"""Finds photo files and prepares them for sending, without opening thousands at once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from patina.client.progress import OnUpload
from patina.errors import PatinaError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar"})
MAX_BATCH_FILES, MAX_BATCH_BYTES = 32, 64 * 2**20
PART_BYTES = 8 * 2**20  # of a resumable upload

NamedFile = tuple[str, Path]


def find_photo_files(paths: Iterable[str | Path]) -> list[NamedFile]:
    """Lists photos and archives with the names to send. Searches folders recursively.

    A file that is named directly is included with any suffix: the service reports if it cannot read it. Raises
    `PatinaError` if a path does not exist or nothing is found.
    """
    found: list[NamedFile] = []
    searched = [Path(path) for path in paths]
    for path in searched:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_photo(file.relative_to(path)))
            found += [(file.relative_to(path).as_posix(), file) for file in inside]
        elif path.exists():
            found.append((path.name, path))
        else:
            raise PatinaError(f"There is no file or folder {path}.")
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES | ARCHIVE_SUFFIXES))
        raise PatinaError(f"No photos in {', '.join(map(str, searched)) or 'nothing'}. Supported: {suffixes}.")
    return found


def split_batches(files: Sequence[NamedFile]) -> Iterator[list[NamedFile]]:
    """Yields batches of at most MAX_BATCH_FILES files and MAX_BATCH_BYTES bytes.

    A larger file is alone in its batch.
    """
    batch: list[NamedFile] = []
    batch_bytes = 0
    for name, path in files:
        size = path.stat().st_size
        if batch and (len(batch) == MAX_BATCH_FILES or batch_bytes + size > MAX_BATCH_BYTES):
            yield batch
            batch, batch_bytes = [], 0
        batch.append((name, path))
        batch_bytes += size
    if batch:
        yield batch


def is_large(path: Path) -> bool:
    """Checks whether a file exceeds a batch, and is sent by a resumable upload."""
    return path.stat().st_size > MAX_BATCH_BYTES


def read_part(path: Path, offset: int) -> bytes:
    """Returns at most PART_BYTES of a file from `offset`."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)


def exclude_present(files: Sequence[NamedFile], present: Set[str]) -> Sequence[NamedFile]:
    """Returns the files whose SHA-256 is not in `present`. Reads none of them if `present` is empty."""
    return [file for file in files if _sha256(file[1]) not in present] if present else files


def multipart_files(files: Sequence[NamedFile], on_progress: OnUpload | None = None) -> list[tuple[str, Any]]:
    """Returns the files as form fields for httpx. `on_progress` is called after each file is sent."""
    sent = count(1)

    def on_sent() -> None:
        if on_progress:
            on_progress(next(sent), len(files))

    return [("files", (name, LazyFile(path, on_sent))) for name, path in files]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_photo(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() in IMAGE_SUFFIXES | ARCHIVE_SUFFIXES


class LazyFile(io.RawIOBase):
    """A file that is open only while it is read. A request can then hold more files than the open-file limit."""

    def __init__(self, path: Path, on_sent: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_sent = on_sent
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # httpx seeks to the end and back to get the length, and to the start before it sends.
        self._release()
        if whence == io.SEEK_END:
            return self._path.stat().st_size + offset
        if offset:
            raise io.UnsupportedOperation("a photo is read from its start")
        return 0

    def tell(self) -> int:
        return self._file.tell() if self._file else 0

    def read(self, size: int = -1) -> bytes:
        if self._file is None:
            self._file = self._path.open("rb")
        chunk = self._file.read(size)
        if not chunk:
            self._release()
            self._on_sent()
        return chunk

    def close(self) -> None:
        self._release()
        super().close()

    def _release(self) -> None:
        if self._file:
            self._file.close()
        self._file = None
