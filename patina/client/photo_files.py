"""Which files are photos, and sending thousands of them without opening all at once."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from patina.errors import PatinaError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})
ARCHIVES = frozenset({".zip", ".tar"})
BATCH_FILES, BATCH_BYTES = 32, 64 * 2**20

NamedFile = tuple[str, Path]


def photo_files(paths: Iterable[Path]) -> list[NamedFile]:
    """Photos and archives with the names to send them by; folders are searched to their depths.

    A file that is named outright is sent whatever its name ends with: the service says if it cannot read it.
    """
    found: list[NamedFile] = []
    paths = list(paths)  # an iterator would be used up when they are named below
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and _is_photo(file.relative_to(path)))
            found += [(file.relative_to(path).as_posix(), file) for file in inside]
        elif path.exists():
            found.append((path.name, path))
        else:
            raise PatinaError(f"There is no file or folder {path}.")
    if not found:
        endings = ", ".join(sorted(IMAGES | ARCHIVES))
        raise PatinaError(f"No photos in {', '.join(map(str, paths)) or 'nothing'}. Looked for {endings}.")
    return found


def batches(files: Sequence[NamedFile]) -> Iterator[list[NamedFile]]:
    """In requests of a bearable size."""
    batch: list[NamedFile] = []
    held = 0
    for name, path in files:
        size = path.stat().st_size
        if batch and (len(batch) == BATCH_FILES or held + size > BATCH_BYTES):
            yield batch
            batch, held = [], 0
        batch.append((name, path))
        held += size
    if batch:
        yield batch


def _is_photo(inside: Path) -> bool:
    hidden = any(part.startswith(".") for part in inside.parts)
    return not hidden and inside.suffix.lower() in IMAGES | ARCHIVES


class LazyFile(io.RawIOBase):
    """A file that is open only while it is read, so that one request can hold more files than may be open at once."""

    def __init__(self, path: Path, on_sent: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._on_sent = on_sent
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # Asked for the length by the HTTP library (to the end and back), and before sending (to the start).
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
        piece = self._file.read(size)
        if not piece:
            self._release()
            self._on_sent()
        return piece

    def close(self) -> None:
        self._release()
        super().close()

    def _release(self) -> None:
        if self._file:
            self._file.close()
        self._file = None
