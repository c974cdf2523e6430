"""A file of a sample: a blob of its own, or a part of a larger one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from store.errors import BlobCorrupt
from store.files.blobs import Blobs, read_part


@dataclass(frozen=True)
class Part:
    """`size` bytes of a blob, from `start` on, and their CRC-32."""

    start: int
    size: int
    crc32: int


@dataclass(frozen=True)
class StoredFile:
    """All bytes of the blob `sha256`, or a part of them."""

    sha256: str
    part: Part | None = None

    @classmethod
    def from_record(cls, value: Any, shard: str | None) -> Self:
        """Reads a value of `Sample.files`. `shard` is the SHA-256 of the sample's shard, if it has one."""
        return cls(str(value)) if shard is None else cls(shard, Part(*value))

    @property
    def etag(self) -> str:
        """Returns an entity tag: the same tag means the same bytes."""
        part = self.part
        return f'"{self.sha256}"' if part is None else f'"{self.sha256}-{part.start}-{part.size}"'

    @property
    def crc32(self) -> int | None:
        """The CRC-32 of its bytes, if it is recorded."""
        return None if self.part is None else self.part.crc32

    def size(self, blobs: Blobs) -> int:
        """Returns the size in bytes. Raises `BlobMissing`, but not for a part, whose size is recorded."""
        return blobs.size(self.sha256) if self.part is None else self.part.size

    def iter_chunks(self, blobs: Blobs) -> Iterator[bytes]:
        """Yields its bytes. Raises `BlobMissing`; and `BlobCorrupt` instead of the last chunk if they have changed."""
        if self.part is None:
            return blobs.iter_chunks(self.sha256)
        return _verify(blobs.iter_part(self.sha256, self.part.start, self.part.size), self.part, self.sha256)

    def iter_range(self, blobs: Blobs, start: int, stop: int) -> Iterator[bytes]:
        """Checks the whole file, then returns its bytes from `start` to before `stop`.

        Raises `BlobMissing` or `BlobCorrupt`.
        """
        if self.part is None:
            return read_part(blobs.verified_path(self.sha256), start, stop - start)
        for _ in self.iter_chunks(blobs):
            pass
        return blobs.iter_part(self.sha256, self.part.start + start, stop - start)


def _verify(chunks: Iterator[bytes], part: Part, sha256: str) -> Iterator[bytes]:
    checksum, remaining = 0, part.size
    for chunk in chunks:
        checksum, remaining = zlib.crc32(chunk, checksum), remaining - len(chunk)
        if remaining <= 0 and checksum != part.crc32:
            raise BlobCorrupt(sha256)
        yield chunk
    if remaining:  # the blob ends before
        raise BlobCorrupt(sha256)
