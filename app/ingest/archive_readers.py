"""Reads .zip and .tar archives that strangers made, so that nothing in one makes its reader hold or do much.

The standard library's readers believe an archive: they take a directory of any size into memory, and a tar's headers,
and follow offsets wherever they lead. Here they see it through a `_BoundedReader` file, which does not let them.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol, cast

HEAD = 512  # bytes that tell what a file is: a tar's first header
ZIP_STARTS = (b"PK\3\4", b"PK\5\6")  # with members, and without
ZIP_ENTRY_START = b"PK\1\2"
ZIP_END_BYTES = 2**18  # what is read to find the end of a zip, twice over
ENTRY_BYTES = 256  # of a zip's directory for each member that is allowed
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA takes the memory that a file asks for
UNIX, TYPE_OF_MODE, PLAIN = 3, 28, (0, 0o10)
ENCRYPTED = 1
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
HEADER_BYTES = 64 * 1024  # of a tar's headers for each member
LONG_NUMBER = re.compile(rb"\d{300}")  # more than a name can have
XZ_MEMORY = 128 * 2**20  # `xz -9` needs half of it


class CorruptArchiveError(ValueError):
    """The archive cannot be read, or is made to mislead its reader."""


class TooManyMembersError(ValueError):
    """The archive has more members than are allowed."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    size: int  # as the archive has it; no more than so many bytes come
    is_file: bool
    is_folder: bool = False
    encrypted: bool = False
    place: int = 0  # where in a tar its bytes are; its number in a zip's directory


class Reader(Protocol):
    """`members` tells of each member as it is found, before any is unpacked; `open` then unpacks one."""

    def members(self) -> Iterator[Member]: ...
    def open(self, member: Member) -> IO[bytes]: ...


Opener = Callable[[Path, int, ExitStack], Reader]  # of an archive, the most members that it may have, what to close


def find_opener(head: bytes, name: str) -> Opener | None:
    """For a file whose first 512 bytes are these; None for what is no archive. An empty .tar is known by its name."""
    if head.startswith(ZIP_STARTS):
        return lambda path, most, stack: ZipReader(stack.enter_context(path.open("rb")), most, stack)
    for start, unpack in UNPACKERS.items():
        if head.startswith(start):
            return lambda path, most, stack: TarReader(stack.enter_context(unpack(path)), stack)
    if _is_tar(head, name):
        return lambda path, most, stack: TarReader(stack.enter_context(path.open("rb")), stack)
    return None


def _is_tar(head: bytes, name: str) -> bool:
    if not any(head):
        return name.lower().endswith(TAR_SUFFIXES)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


class ZipReader:
    def __init__(self, file: BinaryIO, most_members: int, stack: ExitStack):
        careful = _BoundedZipReader(file, most_members)
        self._zip = stack.enter_context(zipfile.ZipFile(cast(IO[bytes], careful)))
        careful.allow(None)

    def members(self) -> Iterator[Member]:
        for number, entry in enumerate(self._zip.infolist()):
            plain = entry.create_system != UNIX or (entry.external_attr >> TYPE_OF_MODE) in PLAIN
            yield Member(
                entry.filename,
                entry.file_size,
                is_file=plain,
                is_folder=entry.is_dir(),
                encrypted=bool(entry.flag_bits & ENCRYPTED),
                place=number,
            )

    def open(self, member: Member) -> IO[bytes]:
        entry = self._zip.infolist()[member.place]
        if entry.compress_type not in METHODS:
            raise CorruptArchiveError("it is packed by a method that is not taken; deflate is")
        return self._zip.open(entry)


class TarReader:
    def __init__(self, unpacked: IO[bytes], stack: ExitStack):
        self._file = _BoundedReader(unpacked, HEADER_BYTES)
        self._tar = stack.enter_context(tarfile.TarFile(fileobj=cast(IO[bytes], self._file)))

    def members(self) -> Iterator[Member]:
        after = 0
        while (entry := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined] # it would keep them all
            if entry.size < 0 or entry.offset_data <= after:
                raise CorruptArchiveError("its headers lead back")
            after = entry.offset_data
            plain = entry.isfile() and not entry.issparse()
            yield Member(entry.name, entry.size, plain, is_folder=entry.isdir(), place=entry.offset_data)
            self._file.allow(HEADER_BYTES)
        self._file.seek(self._tar.offset)
        if any(self._file.read(HEAD)):  # the library takes this for the end, and what follows would be lost
            raise CorruptArchiveError("it has a header that cannot be read")

    def open(self, member: Member) -> IO[bytes]:
        self._file.allow(None)
        self._file.seek(member.place)
        return cast(IO[bytes], _Part(self._file, member.size))


class _BoundedReader:
    """A file that gives no more than so many bytes until it is allowed more, and goes nowhere before its start."""

    def __init__(self, file: IO[bytes], most: int):
        self._file = file
        self._left: int | None = most

    def allow(self, most: int | None) -> None:
        """So many bytes from now on; None is any number."""
        self._left = most

    def read(self, size: int = -1) -> bytes:
        if self._left is None:
            return self._file.read(size)
        data = self._file.read(self._left + 1 if size < 0 else min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise self._too_much()
        # Some releases of Python take the square of such a number's length to look at it (CVE-2024-6232).
        if LONG_NUMBER.search(data):
            raise CorruptArchiveError("its headers hold a number of hundreds of digits")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise CorruptArchiveError("its headers lead before its start")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def _too_much(self) -> ValueError:
        return CorruptArchiveError("its headers are larger than they have reason to be")


class _BoundedZipReader(_BoundedReader):
    """A zip's file, whose directory is read in one piece, and believed on how many entries are in it."""

    def __init__(self, file: IO[bytes], most_entries: int):
        super().__init__(file, ENTRY_BYTES * most_entries + ZIP_END_BYTES)
        self._most_entries = most_entries

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        if self._left is not None and data.count(ZIP_ENTRY_START) > self._most_entries:
            raise self._too_much()
        return data

    def _too_much(self) -> ValueError:
        return TooManyMembersError()


class _Part(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: _BoundedReader, size: int):
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        if not data and self._left:
            raise CorruptArchiveError("it is cut off")
        self._left -= len(data)
        return data


class _Unxz(io.RawIOBase):
    """An .xz file as it reads unpacked. The standard library's own would take the memory that the file asks for."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._start()

    def _start(self) -> None:
        self._file.seek(0)
        self._at = 0
        self._new_stream()

    def _new_stream(self) -> None:
        self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = b""
        while not data:
            if self._xz.eof:
                rest = self._xz.unused_data.lstrip(b"\0") or self._file.read(io.DEFAULT_BUFFER_SIZE).lstrip(b"\0")
                if not rest:
                    return 0
                self._new_stream()
            else:
                rest = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._xz.needs_input else b""
                if self._xz.needs_input and not rest:
                    raise CorruptArchiveError("it is cut off")
            data = self._xz.decompress(rest, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("an .xz file is not known from its end")
        if offset < self._at:
            self._start()
        chunk = bytearray(io.DEFAULT_BUFFER_SIZE)
        while self._at < offset and self.readinto(memoryview(chunk)[: offset - self._at]):  # type: ignore[arg-type]
            pass
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        self._file.close()
        super().close()


UNPACKERS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lambda path: io.BufferedReader(cast(io.RawIOBase, _Unxz(path.open("rb")))),
}
