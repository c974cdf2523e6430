"""Walks through the segments of a JPEG file, without decoding it: counts its scans and finds its end."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from imaging.rejections import undecodable_image

START, END, SCAN = 0xD8, 0xD9, 0xDA
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
STANDALONE = {0x01, START, *range(0xD0, 0xD8)}  # markers without a segment
MAX_SEGMENTS = 100_000
MAX_SCANS = 200  # 20 are many, and a decoder passes over the whole image for each
MARKER = re.compile(rb"\xff[^\x00\xff]")
NOT_PADDING = re.compile(rb"[^\x00\x1a\xff]")
MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # restart markers belong to the scan


@dataclass(frozen=True)
class JpegStructure:
    """`complete` says whether the file has its end marker. If not, it ends in a segment or, `in_scan`, in a scan.

    `trailing_bytes` is the size of what follows the end marker, such as the video of a motion photo; 0 for padding.
    """

    scans: int
    progressive: bool
    complete: bool
    in_scan: bool = False
    trailing_bytes: int = 0


def read_structure(opened: BinaryIO) -> JpegStructure:
    """Reads a file from its start to its first end marker, and leaves it at its start.

    Raises `ImageRejected` for more than 200 scans or 100,000 segments.
    """
    with _map_bytes(opened) as data:
        return _walk(data)


@contextmanager
def _map_bytes(opened: BinaryIO) -> Iterator[bytes | mmap.mmap]:
    """Yields a file's bytes without reading them into memory, if it is a file of the system."""
    try:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        opened.seek(0)
        yield opened.read()
        opened.seek(0)
        return
    with mapped:
        yield mapped


def _walk(data: bytes | mmap.mmap) -> JpegStructure:
    scans, progressive, at = 0, False, 2
    for _ in range(MAX_SEGMENTS):
        found = MARKER.search(data, at)
        if found is None:
            return JpegStructure(scans, progressive, complete=False)
        marker, at = data[found.end() - 1], found.end()
        if marker == END:
            trailing = len(data) - at if NOT_PADDING.search(data, at) else 0
            return JpegStructure(scans, progressive, complete=True, trailing_bytes=trailing)
        if marker in STANDALONE:
            continue
        progressive = progressive or marker in PROGRESSIVE
        at += int.from_bytes(data[at : at + 2])
        if marker == SCAN:
            scans += 1
            if scans > MAX_SCANS:
                raise undecodable_image(f"JPEG has more than {MAX_SCANS} scans")
            following = MARKER_IN_SCAN.search(data, at)
            if following is None:
                return JpegStructure(scans, progressive, complete=False, in_scan=at <= len(data))
            at = following.start()
    raise undecodable_image(f"JPEG has more than {MAX_SEGMENTS:,} segments")
