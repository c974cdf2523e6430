"""Finds properties in the headers of HEIF, AVIF and JPEG 2000 files that their decoders do not report."""

from __future__ import annotations

from imaging import color
from imaging.rejections import ImageWarning


def jpeg_2000_bits(head: bytes) -> int:
    """Reads the largest depth of a component from the marker SIZ (ISO 15444-1, A.5.1)."""
    start = head.find(b"\xff\x4f\xff\x51")
    if start < 0:
        return 8
    count = int.from_bytes(head[start + 40 : start + 42])
    depths = head[start + 42 : start + 42 + 3 * count : 3]
    return max((depth & 0x7F) + 1 for depth in depths) if depths else 8


def avif_bits(head: bytes) -> int:
    """Reads the depth from the boxes av1C (AV1-ISOBMFF, 2.3)."""
    bits, at = 8, head.find(b"av1C")
    while 0 <= at < len(head) - 6:
        flags = head[at + 6]
        bits = max(bits, 12 if flags & 0x20 else 10 if flags & 0x40 else 8)
        at = head.find(b"av1C", at + 4)
    return bits


def read_cicp(head: bytes, remarks: list[ImageWarning]) -> bytes:
    """Returns a profile for the colors that a box `colr` names by numbers; empty for sRGB."""
    at = head.find(b"colrnclx")
    if at < 0:
        return b""
    primaries = int.from_bytes(head[at + 8 : at + 10])
    if int.from_bytes(head[at + 10 : at + 12]) in (color.PQ, color.HLG):
        remarks.append(
            ImageWarning(
                "hdr_curve", "The image is HDR (PQ or HLG). Its brightness is not mapped to sRGB, so it is flat."
            )
        )
    return color.make_profile(primaries)
