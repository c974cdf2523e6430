"""Reads untrusted .zip and .tar archives, and single compressed files, with bounded memory and time.

The standard library's readers trust an archive: they load a directory or a tar header of any size into memory, and
they follow every offset. Here they read through a `_BoundedReader`, which limits them.
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

from app.ingest import deflate64
from app.ingest.archive_names import DOS, LATIN_1, find_unicode_path, guess_encoding
from app.ingest.zip_directory import ENTRY_MAGIC, repair_directory

HEAD_BYTES = 512  # enough to detect the format: the first header of a tar
ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")  # with and without members
ZIP_END_BYTES = 2**18  # twice what is read to find the end of a zip
ENTRY_BYTES = 256  # size limit of a zip's directory per allowed member
# Not LZMA, which allocates the memory that the file demands.
COMPRESSION_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
UNIX, FILE_TYPE_SHIFT, REGULAR_FILE = 3, 28, (0, 0o10)
ENCRYPTED_FLAG, UTF_8_FLAG = 1, 0x800
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
HEADER_BYTES = 64 * 1024  # size limit of a tar's headers per member
HUGE_NUMBER = re.compile(rb"\d{300}")  # more digits than a name can have
CHUNK_BYTES = 2**20
MAX_SINGLE_BYTES = 2**31  # of a compressed file that is no archive
XZ_MEMORY_LIMIT = 128 * 2**20  # `xz -9` needs half of this


class CorruptArchiveError(ValueError):
    """The archive cannot be read."""


class MisleadingArchiveError(CorruptArchiveError):
    """The archive is crafted to mislead its reader, which no damage does."""


class TooManyMembersError(ValueError):
    """The archive has more members than are allowed."""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    size: int  # in the archive's directory; reading returns no more bytes
    is_file: bool
    is_folder: bool = False
    encrypted: bool = False
    locator: int = 0  # offset of its bytes in a tar; index in a zip's directory


class ArchiveReader(Protocol):
    """`members` yields all members before any is extracted; `open` then extracts one.

    With `random_access`, a member that is not extracted costs nothing, however large it is.
    """

    random_access: bool

    def members(self) -> Iterator[Member]: ...
    def open(self, member: Member) -> IO[bytes]: ...


Opener = Callable[[Path, int, ExitStack], ArchiveReader]  # (archive, maximum number of members, what to close)


def find_opener(head: bytes, name: str) -> Opener | None:
    """Returns the opener for a file with these first 512 bytes; None if it is no archive.

    An empty .tar has only zeros and is detected by its name.
    """
    if head.startswith(ZIP_MAGIC):
        return lambda path, max_members, stack: ZipReader(stack.enter_context(path.open("rb")), max_members, stack)
    for magic, decompress in DECOMPRESSORS.items():
        if head.startswith(magic):
            return lambda path, max_members, stack: _open_compressed(stack.enter_context(decompress(path)), name, stack)
    if _is_tar(head, name):
        return lambda path, max_members, stack: TarReader(stack.enter_context(path.open("rb")), stack)
    return None


def _open_compressed(file: IO[bytes], name: str, stack: ExitStack) -> ArchiveReader:
    """Opens what a compressed file holds: an archive, or one file, such as photo.png.gz."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if name.lower().endswith(TAR_SUFFIXES) or _is_tar(head, name):
        return TarReader(file, stack)
    return SingleFileReader(file, name)


def _is_tar(head: bytes, name: str) -> bool:
    if not any(head):
        return name.lower().endswith(TAR_SUFFIXES)
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


class ZipReader:
    random_access = True

    def __init__(self, file: BinaryIO, max_members: int, stack: ExitStack):
        bounded = _BoundedZipReader(file, max_members)
        self._file = bounded
        self._zip = stack.enter_context(zipfile.ZipFile(cast(IO[bytes], bounded)))
        bounded.allow(None)
        self._encoding = guess_encoding(
            (_stored_name(entry) for entry in self._zip.infolist() if not entry.flag_bits & UTF_8_FLAG), DOS
        )

    def members(self) -> Iterator[Member]:
        for number, entry in enumerate(self._zip.infolist()):
            regular = entry.create_system != UNIX or (entry.external_attr >> FILE_TYPE_SHIFT) in REGULAR_FILE
            yield Member(
                self._name(entry),
                entry.file_size,
                is_file=regular,
                is_folder=entry.is_dir(),
                encrypted=bool(entry.flag_bits & ENCRYPTED_FLAG),
                locator=number,
            )

    def _name(self, entry: zipfile.ZipInfo) -> str:
        if entry.flag_bits & UTF_8_FLAG:
            return entry.filename
        stored = _stored_name(entry)
        return find_unicode_path(entry.extra, stored) or stored.decode(self._encoding)

    def open(self, member: Member) -> IO[bytes]:
        entry = self._zip.infolist()[member.locator]
        if entry.compress_type == deflate64.METHOD:
            return cast(IO[bytes], deflate64.Deflate64File(self._file, entry))
        if entry.compress_type not in COMPRESSION_METHODS:
            raise CorruptArchiveError("its compression method is not supported; use deflate")
        return self._zip.open(entry)


def _stored_name(entry: zipfile.ZipInfo) -> bytes:
    """Returns the name as it is in the archive; the library has decoded it as code page 437."""
    return entry.orig_filename.encode(DOS).partition(b"\0")[0]


class SingleFileReader:
    """A compressed file that is no archive, as an archive with one member."""

    random_access = False

    def __init__(self, file: IO[bytes], name: str):
        self._file = file
        base = name.replace("\\", "/").rpartition("/")[2]
        self._name = base.rpartition(".")[0] or base

    def members(self) -> Iterator[Member]:
        size = 0
        while chunk := self._file.read(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_SINGLE_BYTES:
                raise CorruptArchiveError(f"it extracts to more than {MAX_SINGLE_BYTES:,} bytes")
        yield Member(self._name, size, is_file=True)

    def open(self, member: Member) -> IO[bytes]:
        self._file.seek(0)
        return self._file


class TarReader:
    random_access = False

    def __init__(self, file: IO[bytes], stack: ExitStack):
        self._file = _BoundedReader(file, HEADER_BYTES)
        self._tar = stack.enter_context(tarfile.TarFile(fileobj=cast(IO[bytes], self._file)))

    def members(self) -> Iterator[Member]:
        after = 0
        while (entry := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined] # the library would keep all of them
            if entry.size < 0 or entry.offset_data <= after:
                raise MisleadingArchiveError("its headers point backwards")
            after = entry.offset_data
            regular = entry.isfile() and not entry.issparse()
            name = _repair_name(entry.name)
            yield Member(name, entry.size, regular, is_folder=entry.isdir(), locator=entry.offset_data)
            self._file.allow(HEADER_BYTES)
        self._file.seek(self._tar.offset)
        if any(self._file.read(HEAD_BYTES)):  # the library stops here and would drop the members that follow
            raise CorruptArchiveError("it has an invalid header")

    def open(self, member: Member) -> IO[bytes]:
        self._file.allow(None)
        self._file.seek(member.locator)
        return cast(IO[bytes], _MemberFile(self._file, member.size))


def _repair_name(name: str) -> str:
    """Returns a tar's name that the library could not decode as UTF-8 in the encoding that it may have."""
    try:
        stored = name.encode()
    except UnicodeEncodeError:
        stored = name.encode("utf-8", "surrogateescape")
        return stored.decode(guess_encoding([stored], LATIN_1))
    return stored.decode()


class _BoundedReader:
    """A file that returns a limited number of bytes until more are allowed, and never seeks before its start."""

    def __init__(self, file: IO[bytes], limit: int):
        self._file = file
        self._remaining: int | None = limit

    def allow(self, limit: int | None) -> None:
        """Allows this many bytes from now on; None means no limit."""
        self._remaining = limit

    def read(self, size: int = -1) -> bytes:
        if self._remaining is None:
            return self._file.read(size)
        data = self._file.read(self._remaining + 1 if size < 0 else min(size, self._remaining + 1))
        self._remaining -= len(data)
        if self._remaining < 0:
            raise self._limit_error()
        # Some Python releases need quadratic time to parse such a number (CVE-2024-6232).
        if HUGE_NUMBER.search(data):
            raise MisleadingArchiveError("its headers have a number with hundreds of digits")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset < 0:
            raise MisleadingArchiveError("its headers point before its start")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def _limit_error(self) -> ValueError:
        return CorruptArchiveError("its headers are too large")


class _BoundedZipReader(_BoundedReader):
    """A zip file. Its directory is read at once, so its entries are counted before the library parses them."""

    def __init__(self, file: IO[bytes], max_entries: int):
        super().__init__(file, ENTRY_BYTES * max_entries + ZIP_END_BYTES)
        self._max_entries = max_entries

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        if self._remaining is None:
            return data
        if data.count(ENTRY_MAGIC) > self._max_entries:
            raise self._limit_error()
        return repair_directory(data) if data.startswith(ENTRY_MAGIC) else data

    def _limit_error(self) -> ValueError:
        return TooManyMembersError()


class _MemberFile(io.RawIOBase):
    """The next `size` bytes of an archive."""

    def __init__(self, file: _BoundedReader, size: int):
        self._file = file
        self._remaining = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._remaining if size < 0 else min(size, self._remaining))
        if not data and self._remaining:
            raise CorruptArchiveError("it is truncated")
        self._remaining -= len(data)
        return data


class _XzFile(io.RawIOBase):
    """A decompressed .xz file. The standard library's reader allocates the memory that the file demands."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._position = 0
        self._new_stream()

    def _new_stream(self) -> None:
        self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_LIMIT)

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
                    raise CorruptArchiveError("it is truncated")
            data = self._xz.decompress(rest, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("an .xz file cannot be read from its end")
        if offset < self._position:
            self._restart()
        chunk = bytearray(io.DEFAULT_BUFFER_SIZE)
        while self._position < offset and self.readinto(memoryview(chunk)[: offset - self._position]):  # type: ignore[arg-type]
            pass
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        self._file.close()
        super().close()


DECOMPRESSORS: dict[bytes, Callable[[Path], IO[bytes]]] = {
    b"\x1f\x8b": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lambda path: io.BufferedReader(cast(io.RawIOBase, _XzFile(path.open("rb")))),
}
