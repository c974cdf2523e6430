"""Identifies a video file by its first bytes. Needs no FFmpeg."""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 512
MATROSKA, MOV, AVI = "matroska", "mov", "avi"  # FFmpeg's names of its readers
EBML_MAGIC = b"\x1aE\xdf\xa3"
MPEG_MAGIC = b"\0\0\1\xba"
IMAGE_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"mif2", b"avif", b"avis"}
CANON_RAW_BRAND = b"crx "
OLD_MOV_BOXES = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}  # a QuickTime file without `ftyp`


def find_container(head: bytes) -> str | None:
    """Returns FFmpeg's name for the container of a video with these first bytes; None if it is none that is read."""
    if head.startswith(EBML_MAGIC):
        return MATROSKA
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return AVI
    if head[4:8] == b"ftyp":
        return None if head[8:12] in IMAGE_BRANDS or head[8:12] == CANON_RAW_BRAND else MOV
    return MOV if head[4:8] in OLD_MOV_BOXES else None


def is_video(path: Path) -> bool:
    """Checks whether a file is a video that can be read. A folder is none."""
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return find_container(opened.read(HEAD_BYTES)) is not None
