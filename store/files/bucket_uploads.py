"""Unfinished uploads in a bucket: an object for each piece that was counted at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from store.files.bucket import Bucket
from store.files.partial_uploads import OpenUpload, PartialUploads

FOLDER = "uploads"
DIGITS = 20  # of an offset in a key


class BucketUploads(PartialUploads):
    """Objects `uploads/ID/OFFSET`. A piece that was stored and not counted is replaced by the next at its offset."""

    def __init__(self, bucket: Bucket):
        self._bucket = bucket

    def size(self, upload_id: str) -> int:
        return sum(size for _, size in self._pieces(upload_id))

    def open(self, upload_id: str, offset: int) -> OpenUpload:
        self._bucket.delete([_key(upload_id, start) for start, _ in self._pieces(upload_id) if start >= offset])
        return _OpenPieces(self, upload_id, offset)

    def assemble(self, upload_id: str, path: Path) -> None:
        with path.open("wb") as file:
            for start, _ in self._pieces(upload_id):
                for part in self._bucket.iter_parts(_key(upload_id, start)):
                    file.write(part)

    def delete(self, upload_id: str) -> None:
        self._bucket.delete([key for key, _ in self._bucket.list_sizes(f"{FOLDER}/{upload_id}")])

    def list_ids(self) -> set[str]:
        return {key.split("/")[1] for key, _ in self._bucket.list_sizes(FOLDER)}

    def stored_bytes(self) -> int:
        return sum(size for _, size in self._bucket.list_sizes(FOLDER))

    def read_head(self, upload_id: str, size: int) -> bytes:
        """Returns the first bytes, at most `size`."""
        head = b""
        for start, _ in self._pieces(upload_id):
            head += self._bucket.read(_key(upload_id, start))
            if len(head) >= size:
                break
        return head[:size]

    def put(self, upload_id: str, offset: int, data: bytes) -> None:
        """Stores a piece."""
        self._bucket.put(_key(upload_id, offset), data)

    def _pieces(self, upload_id: str) -> Iterator[tuple[int, int]]:
        """Yields (offset, size) of the pieces that follow on each other from the start."""
        end = 0
        for key, size in sorted(self._bucket.list_sizes(f"{FOLDER}/{upload_id}")):
            offset = int(key.rpartition("/")[2])
            if offset != end:
                return
            yield offset, size
            end += size


class _OpenPieces(OpenUpload):
    def __init__(self, uploads: BucketUploads, upload_id: str, offset: int):
        self._uploads = uploads
        self._upload_id = upload_id
        self._offset = offset
        self._pending = bytearray()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drops what was not flushed."""

    def read_head(self, size: int) -> bytes:
        return self._uploads.read_head(self._upload_id, size)

    def write(self, data: bytes) -> None:
        self._pending += data

    def flush(self) -> None:
        if self._pending:
            self._uploads.put(self._upload_id, self._offset, bytes(self._pending))
            self._offset += len(self._pending)
            self._pending.clear()


def _key(upload_id: str, offset: int) -> str:
    return f"{FOLDER}/{upload_id}/{offset:0{DIGITS}}"
