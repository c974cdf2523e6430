"""Assigns output names to a job's images: the paths of their results' files, without suffix.

A result keeps the folders and the name of its source. A part of a path changes only where some file system cannot
hold it, where it would be hidden, or where two results would be the same file. The manifest maps each source to its
name.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# Of one part of a path, in UTF-8. File systems allow 255; numbers and suffixes need the rest.
MAX_PART_BYTES = 180
MAX_PATH_BYTES = 1000  # of all parts; Linux allows 4096
# What Windows forbids, and characters that reverse the text around them.
FORBIDDEN = re.compile('[\x00-\x1f\x7f<>:"|?*\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
# Devices of Windows, with any suffix.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)
# A folder `a.png` would be in the way of the result `a.png`.
RESULT_SUFFIX = re.compile(r".*\.(png|npy|jpg|webp|avif|tif)", re.IGNORECASE | re.DOTALL)


def to_safe_path(name: str) -> str:
    """Returns a file's path without its suffix, relative and safe on Linux, macOS and Windows."""
    *folders, file = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")] or [""]
    stem = file.rpartition(".")[0] or file
    safe = [_shorten(_make_safe(folder, is_folder=True)) for folder in folders]
    path = _shorten(_make_safe(stem))
    for folder in reversed(safe):  # of a path that is too long, the end says more
        if len(path.encode()) + len(folder.encode()) >= MAX_PATH_BYTES:
            break
        path = f"{folder}/{path}"
    return path


def _make_safe(part: str, *, is_folder: bool = False) -> str:
    safe = FORBIDDEN.sub("_", part)
    if safe.startswith("."):
        safe = f"_{safe[1:]}"
    if is_folder and safe.endswith((".", " ")):  # Windows would drop it; a file's name goes on
        safe = f"{safe[:-1]}_"
    if RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if is_folder and RESULT_SUFFIX.fullmatch(safe):
        safe = f"{safe}_"
    return safe or "image"


def _shorten(part: str) -> str:
    """Keeps the start, but never ends within a character, or between a letter and its marks."""
    data = part.encode()
    if len(data) <= MAX_PART_BYTES:
        return part
    short = data[:MAX_PART_BYTES].decode(errors="ignore")
    following = part[len(short)]
    while len(short) > 1 and unicodedata.category(following).startswith("M"):
        short, following = short[:-1], short[-1]
    return short.rstrip(". ") or "image"


class OutputNames:
    """Makes each name of a job's items unique."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._tried: Counter[str] = Counter()  # keeps the search fast when 100,000 files have the same name

    def assign(self, name: str) -> str:
        """Returns the output name of the next file. The same names in the same order have the same output names."""
        base = to_safe_path(name)
        key = _fold(base)
        while True:
            self._tried[key] += 1
            number = self._tried[key]
            output_name = base if number == 1 else f"{base}-{number}"
            folded = _fold(output_name)
            if folded not in self._taken:
                self._taken.add(folded)
                return output_name


def _fold(name: str) -> str:
    """Returns equal text for names that some file system holds for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
