"""Reads members of .zip archives in Deflate64, which Windows writes above 2 GB and Python's reader does not know."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Protocol

METHOD = 9
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra fields
LOCAL_MAGIC = b"PK\3\4"
INPUT_BYTES = 256  # each may expand to several kilobytes


class _File(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Deflate64File(io.RawIOBase):
    """The decompressed bytes of a member. Raises `zipfile.BadZipFile` for damage."""

    def __init__(self, archive: _File, entry: zipfile.ZipInfo):
        from inflate64 import Inflater  # noqa: PLC0415 - few archives need it

        archive.seek(entry.header_offset)
        header = archive.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or not header.startswith(LOCAL_MAGIC):
            raise zipfile.BadZipFile("its header is not where the directory says")
        _, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
        self._archive, self._entry = archive, entry
        self._position = entry.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes
        self._compressed_left = entry.compress_size
        self._inflater = Inflater()
        self._buffer = bytearray()
        self._left, self._checksum = entry.file_size, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        while len(self._buffer) < wanted and self._compressed_left:
            self._archive.seek(self._position)
            data = self._archive.read(min(INPUT_BYTES, self._compressed_left))
            if not data:
                break
            self._position += len(data)
            self._compressed_left -= len(data)
            self._buffer += self._inflate(data)
        if len(self._buffer) < wanted:
            raise zipfile.BadZipFile("it is truncated")
        result = bytes(self._buffer[:wanted])
        del self._buffer[:wanted]
        self._left -= len(result)
        self._checksum = zlib.crc32(result, self._checksum)
        if not self._left and wanted and self._checksum != self._entry.CRC:
            raise zipfile.BadZipFile("its checksum is wrong")
        return result

    def _inflate(self, data: bytes) -> bytes:
        try:
            return bytes(self._inflater.inflate(data))
        except Exception as error:  # the library raises several kinds
            raise zipfile.BadZipFile(f"it is damaged ({error})") from error
