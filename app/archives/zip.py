"""Writes zip archives as segments. Each member is "deflated" in stored blocks: its compressed size is then known, and
readers that cannot seek find its end.

PNG is compressed already and noise is incompressible, so real compression would only cost time. The layout is that of
APPNOTE 6.3.10 with zip64 fields, and a data descriptor, because a member's checksum is known after its bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Self

from app.archives.segments import Segment, literal

BLOCK_BYTES = 0xFFFF  # maximum of a stored block (RFC 1951)
BLOCK_HEADER = struct.Struct("<BHH")
VERSION, UNIX, DEFLATE = 45, 3, 8
FLAGS = 0x0808  # names are UTF-8; a data descriptor follows the bytes
DATE = (1 << 5 | 1) << 16  # 1 January 1980, the earliest that a zip can hold; fixed, so that archives are equal
IN_ZIP64 = 0xFFFFFFFF
FILE_MODE = 0o100644 << 16
UNKNOWN = -1
TABLE_IN_MEMORY = 2**20  # bytes

ROW = struct.Struct("<Qq")  # size and CRC-32 of a member
LOCAL_HEADER = struct.Struct("<4sHHHIIIIHH")
LOCAL_EXTRA = struct.Struct("<HHQQ")
DESCRIPTOR = struct.Struct("<4sIQQ")
CENTRAL_HEADER = struct.Struct("<4sBBHHHIIIIHHHHHII")
CENTRAL_EXTRA = struct.Struct("<HHQQQ")
END64 = struct.Struct("<4sQHHIIQQQQ")
END64_LOCATOR = struct.Struct("<4sIQI")
END = struct.Struct("<4sHHHHIIH")


@dataclass(frozen=True)
class ZipMember:
    name: str
    open: Callable[[], tuple[int, Iterator[bytes]]]  # returns (size in bytes, chunks)
    crc32: int | None = None  # of its bytes, if it is known


def write_zip(members: Callable[[], Iterable[ZipMember]], folder: Path) -> Iterator[Segment]:
    """Yields a zip. `members` yields the same members each time; it is called twice.

    Sizes and checksums of many members are kept in an unnamed file in `folder` and not in memory.
    """
    with _Table(folder) as table:
        offset = 0
        for number, member in enumerate(members()):
            size, chunks = member.open()
            table.append(size, member.crc32)
            header = _local_header(member.name)
            yield literal(header)
            yield Segment(_stored_size(size), _Content(number, size, chunks, table).blocks)
            yield Segment(DESCRIPTOR.size, _Descriptor(number, member, size, table).read)
            offset += len(header) + _stored_size(size) + DESCRIPTOR.size
        directory, start = offset, 0
        for number, member in enumerate(members()):
            size = table.size(number)
            entry = _Entry(number, member, size, start, table)
            yield Segment(entry.size, entry.read)
            directory += entry.size
            start += len(_local_header(member.name)) + _stored_size(size) + DESCRIPTOR.size
        yield literal(_end(table.length, offset, directory - offset))


class _Table:
    """The size and the CRC-32 of each member, in memory while they are few."""

    def __init__(self, folder: Path):
        self.length = 0
        self._file = SpooledTemporaryFile(TABLE_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, size: int, crc32: int | None) -> None:
        self._file.seek(self.length * ROW.size)
        self._file.write(ROW.pack(size, UNKNOWN if crc32 is None else crc32))
        self.length += 1

    def size(self, number: int) -> int:
        return self._read(number)[0]

    def crc32(self, number: int) -> int | None:
        """Returns None if it is not known yet."""
        crc32 = self._read(number)[1]
        return None if crc32 == UNKNOWN else crc32

    def set_crc32(self, number: int, crc32: int) -> None:
        size = self.size(number)
        self._file.seek(number * ROW.size)
        self._file.write(ROW.pack(size, crc32))

    def _read(self, number: int) -> tuple[int, int]:
        self._file.seek(number * ROW.size)
        size, crc32 = ROW.unpack(self._file.read(ROW.size))
        return size, crc32


@dataclass(frozen=True)
class _Content:
    """The bytes of a member in stored blocks. Reading them computes its checksum."""

    number: int
    size: int
    chunks: Iterator[bytes]
    table: _Table

    def blocks(self) -> Iterator[bytes]:
        remaining, pending, checksum = self.size, b"", 0
        if not remaining:
            yield BLOCK_HEADER.pack(1, 0, BLOCK_BYTES)
        for chunk in self.chunks:
            checksum = zlib.crc32(chunk, checksum)
            data = memoryview(pending + chunk if pending else chunk)
            blocks: list[bytes | memoryview] = []
            position = 0
            while position < len(data) and (len(data) - position >= min(BLOCK_BYTES, remaining)):
                block = data[position : position + min(BLOCK_BYTES, remaining)]
                if not block:  # more bytes than announced, which the segment's reader reports
                    block = data[position:]
                position += len(block)
                remaining -= len(block)
                blocks += [BLOCK_HEADER.pack(remaining <= 0, len(block), len(block) ^ BLOCK_BYTES), block]
            pending = bytes(data[position:])
            yield b"".join(blocks)
        self.table.set_crc32(self.number, checksum)


@dataclass(frozen=True)
class _Descriptor:
    """The data descriptor of a member, after its bytes."""

    number: int
    member: ZipMember
    size: int
    table: _Table

    def read(self) -> Iterator[bytes]:
        checksum = _get_checksum(self.number, self.member, self.table)
        yield DESCRIPTOR.pack(b"PK\x07\x08", checksum, _stored_size(self.size), self.size)


@dataclass(frozen=True)
class _Entry:
    """A member's entry in the central directory."""

    number: int
    member: ZipMember
    size_of_member: int
    offset: int
    table: _Table

    @property
    def size(self) -> int:
        return CENTRAL_HEADER.size + len(self.member.name.encode()) + CENTRAL_EXTRA.size

    def read(self) -> Iterator[bytes]:
        name, stored = self.member.name.encode(), _stored_size(self.size_of_member)
        checksum = _get_checksum(self.number, self.member, self.table)
        header = (b"PK\x01\x02", VERSION, UNIX, VERSION, FLAGS, DEFLATE, DATE, checksum, IN_ZIP64, IN_ZIP64)
        yield CENTRAL_HEADER.pack(*header, len(name), CENTRAL_EXTRA.size, 0, 0, 0, FILE_MODE, IN_ZIP64)
        yield name
        yield CENTRAL_EXTRA.pack(1, CENTRAL_EXTRA.size - 4, self.size_of_member, stored, self.offset)


def _get_checksum(number: int, member: ZipMember, table: _Table) -> int:
    """Returns the CRC-32 of a member. Reads the member if its bytes were not sent, because the client has them."""
    checksum = table.crc32(number)
    if checksum is None:
        checksum = 0
        for chunk in member.open()[1]:
            checksum = zlib.crc32(chunk, checksum)
        table.set_crc32(number, checksum)
    return checksum


def _stored_size(size: int) -> int:
    """Returns the bytes that `size` bytes take in stored blocks."""
    return size + BLOCK_HEADER.size * max(1, -(-size // BLOCK_BYTES))


def _local_header(name: str) -> bytes:
    encoded = name.encode()
    header = (b"PK\x03\x04", VERSION, FLAGS, DEFLATE, DATE, 0, IN_ZIP64, IN_ZIP64, len(encoded), LOCAL_EXTRA.size)
    return LOCAL_HEADER.pack(*header) + encoded + LOCAL_EXTRA.pack(1, LOCAL_EXTRA.size - 4, 0, 0)


def _end(count: int, start: int, size: int) -> bytes:
    """Returns the records after the central directory, which has `count` entries in `size` bytes from `start` on."""
    sizes = count, count, size, start
    return (
        END64.pack(b"PK\x06\x06", END64.size - 12, UNIX << 8 | VERSION, VERSION, 0, 0, *sizes)
        + END64_LOCATOR.pack(b"PK\x06\x07", 0, start + size, 1)
        + END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, IN_ZIP64, IN_ZIP64, 0)
    )
