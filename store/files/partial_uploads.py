"""Resumable uploads until they are whole, each named by its id. The record says how much of one is valid."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from store.files.durable import flush_folder


class OpenUpload(ABC):
    """An upload that one request appends to, inside `with`. The request has its lease."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def read_head(self, size: int) -> bytes:
        """Returns the first bytes that were stored before, at most `size`."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Appends bytes."""

    @abstractmethod
    def flush(self) -> None:
        """Returns when all bytes survive a power cut. Only then they may be counted."""


class PartialUploads(ABC):
    """Where unfinished uploads are: beside the blobs, in a folder or a bucket."""

    @abstractmethod
    def size(self, upload_id: str) -> int:
        """Returns the size in bytes, 0 if nothing was stored yet."""

    @abstractmethod
    def open(self, upload_id: str, offset: int) -> OpenUpload:
        """Opens the upload to append at `offset`; what is stored after it is dropped."""

    @abstractmethod
    def assemble(self, upload_id: str, path: Path) -> None:
        """Makes the whole file available as `path`, in a folder of `scratch`. The upload stays until `delete`."""

    @abstractmethod
    def delete(self, upload_id: str) -> None:
        """Deletes what is stored of the upload."""

    @abstractmethod
    def list_ids(self) -> set[str]:
        """Returns the ids of all uploads that something is stored for."""

    @abstractmethod
    def stored_bytes(self) -> int:
        """Returns the size of all unfinished uploads."""

    def delete_unknown(self, known_ids: Callable[[], set[str]]) -> None:
        """Deletes uploads whose id `known_ids` does not return.

        `known_ids` is called after they were listed, because a record is created before its file.
        """
        found = self.list_ids()
        for upload_id in found - known_ids():
            self.delete(upload_id)


class FolderUploads(PartialUploads):
    """The folder `uploads` beside the blobs, on their file system."""

    def __init__(self, data_dir: Path):
        self.root = data_dir / "uploads"
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, upload_id: str) -> Path:
        return self.root / upload_id

    def size(self, upload_id: str) -> int:
        try:
            return self.path(upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    def open(self, upload_id: str, offset: int) -> OpenUpload:
        return _OpenFile(self.path(upload_id), offset)

    def assemble(self, upload_id: str, path: Path) -> None:
        if not self.size(upload_id):  # an empty upload had no part
            path.touch()
            return
        os.link(self.path(upload_id), path)

    def delete(self, upload_id: str) -> None:
        self.path(upload_id).unlink(missing_ok=True)

    def list_ids(self) -> set[str]:
        return {file.name for file in self.root.iterdir()}

    def stored_bytes(self) -> int:
        return sum(self.size(upload_id) for upload_id in self.list_ids())


class _OpenFile(OpenUpload):
    def __init__(self, path: Path, offset: int):
        self._folder = path.parent
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        self._file.truncate(offset)
        self._offset = offset
        self._file.seek(offset)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read_head(self, size: int) -> bytes:
        self._file.seek(0)
        head = self._file.read(min(size, self._offset))
        self._file.seek(self._offset)
        return head

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        flush_folder(self._folder)
