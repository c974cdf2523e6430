"""Guesses the encoding of names in archives that do not say it.

Old archives have names in the encoding of the computer that wrote them: UTF-8, Shift-JIS on a Japanese Windows, else
code page 437 in a .zip, whose format names it, and Latin 1 in a .tar.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable

SHIFT_JIS, DOS, LATIN_1 = "cp932", "cp437", "latin-1"
UNICODE_PATH = 0x7075  # extra field of a .zip: the name in UTF-8, by Info-ZIP
# Kana, kanji and full-width letters. In a Western name that is misread as Shift-JIS, they stand alone.
JAPANESE_WORD = re.compile("[\u3005-\u30ff\u4e00-\u9fff\uff01-\uff9f]{2}")


def guess_encoding(names: Iterable[bytes], default: str) -> str:
    """Returns the encoding that all names of an archive have in common."""
    names = list(names)
    if _decodes(names, "utf-8"):
        return "utf-8"
    if _decodes(names, SHIFT_JIS) and any(JAPANESE_WORD.search(name.decode(SHIFT_JIS)) for name in names):
        return SHIFT_JIS
    return default


def _decodes(names: Iterable[bytes], encoding: str) -> bool:
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def find_unicode_path(extra: bytes, name: bytes) -> str | None:
    """Returns the name in a zip entry's extra fields if it belongs to this stored name; else None."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        value = extra[at + 4 : at + 4 + size]
        if kind == UNICODE_PATH and value[:1] == b"\1" and value[1:5] == struct.pack("<I", zlib.crc32(name)):
            return value[5:].decode("utf-8", "replace")
        at += 4 + size
    return None
