"""Repairs entries of a .zip's central directory (PKWARE APPNOTE, 4.3.12) that would make Python reject all of them."""

from __future__ import annotations

import struct

ENTRY_MAGIC = b"PK\1\2"
ENTRY_BYTES = 46
VERSION_AT, FLAGS_AT, SIZES_AT, LENGTHS_AT, OFFSET_AT = 6, 8, 20, 28, 42
NEWEST_VERSION = 63  # that Python knows; newer ones concern encryption and compression, which it checks by member
UTF_8_FLAG = 0x800
ZIP64, UNICODE_PATH, UNKNOWN = 0x0001, 0x7075, 0xFFFF  # kinds of extra fields
IN_ZIP64 = 0xFFFF_FFFF  # instead of a size or an offset
BLOCK = struct.Struct("<HH")  # kind and length of an extra field


def repair_directory(directory: bytes) -> bytes:
    """Returns a directory of the same length. What is not understood of an entry is hidden, and the entry stays.

    Stops at bytes that are no entry.
    """
    repaired = bytearray(directory)
    at = 0
    while directory[at : at + 4] == ENTRY_MAGIC and at + ENTRY_BYTES <= len(directory):
        name_bytes, extra_bytes, comment_bytes = struct.unpack_from("<HHH", directory, at + LENGTHS_AT)
        name_at = at + ENTRY_BYTES
        if struct.unpack_from("<H", directory, at + VERSION_AT)[0] > NEWEST_VERSION:
            struct.pack_into("<H", repaired, at + VERSION_AT, NEWEST_VERSION)
        flags = struct.unpack_from("<H", directory, at + FLAGS_AT)[0]
        if flags & UTF_8_FLAG and not _is_utf_8(directory[name_at : name_at + name_bytes]):
            struct.pack_into("<H", repaired, at + FLAGS_AT, flags & ~UTF_8_FLAG)
        extra_at = name_at + name_bytes
        _repair_extra(repaired, at, extra_at, min(extra_at + extra_bytes, len(directory)))
        at = extra_at + extra_bytes + comment_bytes
    return bytes(repaired)


def _repair_extra(directory: bytearray, entry: int, at: int, end: int) -> None:
    """Renames extra fields that are damaged, so that a reader skips them."""
    while at + BLOCK.size <= end:
        kind, length = BLOCK.unpack_from(directory, at)
        if at + BLOCK.size + length > end:
            BLOCK.pack_into(directory, at, UNKNOWN, end - at - BLOCK.size)
            return
        value = bytes(directory[at + BLOCK.size : at + BLOCK.size + length])
        incomplete = kind == ZIP64 and length < 8 * _count_in_zip64(directory, entry)
        if incomplete or (kind == UNICODE_PATH and (length < 5 or not _is_utf_8(value[5:]))):
            BLOCK.pack_into(directory, at, UNKNOWN, length)
        at += BLOCK.size + length


def _count_in_zip64(directory: bytearray, entry: int) -> int:
    """Returns how many sizes and offsets of an entry are in its extra field."""
    places = (SIZES_AT, SIZES_AT + 4, OFFSET_AT)
    return sum(struct.unpack_from("<I", directory, entry + place)[0] == IN_ZIP64 for place in places)


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
