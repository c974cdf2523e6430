"""Finds photo files and prepares them for sending, without opening thousands at once."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from patina.client.progress import OnUpload
from patina.errors import PatinaError

HEAD_BYTES = 512  # enough to distinguish images and archives from other files
MAX_BATCH_FILES, MAX_BATCH_BYTES = 32, 64 * 2**20
PART_BYTES = 8 * 2**20  # of a resumable upload

NamedFile = tuple[str, Path]


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not sent, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PhotoFiles:
    """What was found at some paths: the files to send with the names to send, and what is left out."""

    found: list[NamedFile]
    left_out: list[LeftOut]


def find_photo_files(paths: Iterable[str | Path]) -> list[NamedFile]:
    """Lists photos and archives with the names to send; see `search_photos`."""
    return search_photos(paths).found


def search_photos(paths: Iterable[str | Path]) -> PhotoFiles:
    """Searches folders, and folders that they link to, for photos and archives. They are recognized by their content.

    A name is the path below the folder. It starts with the folder's own name if there are several `paths`. A file that
    is named directly is included in any case: the service reports if it cannot read it. Raises `PatinaError` if a
    path does not exist or nothing is found.
    """
    searched = [Path(path) for path in paths]
    result = PhotoFiles([], [])
    for path in searched:
        if path.is_dir():
            prefix = f"{path.resolve().name}/" if len(searched) > 1 else ""
            search = _FolderSearch(path)
            for file in search.found:
                result.found.append((_to_text(f"{prefix}{file.relative_to(path).as_posix()}"), file))
            result.left_out.extend(search.left_out)
        elif path.exists():
            result.found.append((_to_text(path.name), path))
        else:
            raise PatinaError(f"There is no file or folder {path}.")
    if not result.found:
        others = f" {len(result.left_out)} other files are there." if result.left_out else ""
        first = result.left_out[0] if result.left_out else None
        example = f" {first.path}: {first.reason}" if first else ""
        raise PatinaError(f"No photos in {', '.join(map(str, searched)) or 'nothing'}.{others}{example}")
    return result


class _FolderSearch:
    """Searches one folder. Each folder on disk is searched once, under its own path rather than that of a link."""

    def __init__(self, root: Path) -> None:
        self.found: list[Path] = []
        self.left_out: list[LeftOut] = []
        self._links: deque[Path] = deque()
        self._searched: dict[tuple[int, int], Path] = {}
        self._search(root)
        while self._links:  # after the folders themselves, so that a link never hides one
            self._follow(self._links.popleft())
        self.found.sort(key=_sort_key)
        self.left_out.sort(key=lambda left_out: _sort_key(left_out.path))

    def _follow(self, link: Path) -> None:
        status = link.stat()
        if known := self._searched.get((status.st_dev, status.st_ino)):
            self._leave_out(link, f"This link leads to {known}, which is searched already.")
        else:
            self._search(link)

    def _search(self, root: Path) -> None:
        folders = [root]
        while folders:
            folder = folders.pop()
            status = folder.stat()
            self._searched[status.st_dev, status.st_ino] = folder
            try:
                entries = sorted(folder.iterdir())
            except OSError as error:
                self._leave_out(folder, f"The folder cannot be read: {error.strerror}.")
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    self._leave_out(entry, f"Hidden {'folder' if entry.is_dir() else 'file'}.")
                elif not entry.is_dir():
                    self._inspect(entry)
                elif entry.is_symlink():
                    self._links.append(entry)
                else:
                    folders.append(entry)

    def _inspect(self, file: Path) -> None:
        try:
            reason = _find_fault(file)
        except OSError as error:
            reason = f"The file cannot be read: {error.strerror}."
        if reason is None:
            self.found.append(file)
        else:
            self._leave_out(file, reason)

    def _leave_out(self, path: Path, reason: str) -> None:
        self.left_out.append(LeftOut(path, reason))


def _find_fault(file: Path) -> str | None:
    """Returns why a file is no photo and no archive, by its first bytes, as the service would. None if it is one."""
    # Only here, because they take longer to import than the rest of the client.
    from app.ingest.archive_readers import find_opener  # noqa: PLC0415
    from imaging.rejections import ImageRejected  # noqa: PLC0415
    from imaging.signatures import identify  # noqa: PLC0415

    if file.is_symlink() and not file.exists():
        return "The link leads nowhere."
    if not file.is_file():
        return "Neither a file nor a folder."
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    if head and find_opener(head, file.name):
        return None
    try:
        identify(head)
    except ImageRejected as error:
        return error.message
    return None


def _sort_key(path: Path) -> tuple[str, ...]:
    return path.parts


def _to_text(name: str) -> str:
    """Returns a file name as text that can be sent. Bytes that are not UTF-8 become a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


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


def describe_batch(files: Sequence[NamedFile]) -> str:
    """Returns a digest of the files' names and contents."""
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(f"{_sha256(path)} {name}\n".encode())
    return digest.hexdigest()


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
