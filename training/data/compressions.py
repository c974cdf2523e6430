"""What compressed the photos: as their files say, or else as their pixels show."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from imaging.compression import ROTATED_90, FileCompression
from models.compression import CODECS, Compression, can_encode, nearest_quality
from training.data.jpeg_estimation import estimate_compression
from training.data.photos import PhotoCompression, Photos

MAX_ESTIMATES = 60  # photos whose pixels are inspected
MAX_ENTRIES = 64  # different compressions in a bank
MAX_COUNT = 1_000  # photos that a bank counts
UNIT_TABLE = (1,) * 64
# EXIF orientations that show the file's right, or bottom, side at the left, or top.
STARTS_RIGHT, STARTS_BOTTOM = {2, 3, 6, 7}, {3, 4, 7, 8}


def describe_file(file: FileCompression, height: int, width: int) -> PhotoCompression | None:
    """Returns the compression of decoded pixels (height, width), as their file says; None for an unusual file.

    A photo that was rotated has its tables transposed. One that was mirrored starts in the middle of a block, unless
    its side is a multiple of a block's.
    """
    if file.codec in CODECS and file.quality is not None and can_encode(file.codec):
        return PhotoCompression(Compression(codec=file.codec, quality=file.quality))
    if file.codec != "jpeg" or file.color not in ("ycbcr", "gray"):
        return None
    rotated = file.orientation in ROTATED_90
    tables = [_transpose(table) if rotated else table for table in file.tables]
    luma, cb, cr = tables if len(tables) == 3 else (tables[0], UNIT_TABLE, UNIT_TABLE)
    across, down = reversed(file.sampling) if rotated else file.sampling
    compression = Compression(luma, cb, cr, (across, down))
    unit_down, unit_across = compression.unit
    top = height % unit_down if file.orientation in STARTS_BOTTOM else 0
    left = width % unit_across if file.orientation in STARTS_RIGHT else 0
    return PhotoCompression(compression, (top, left))


def inspect_compressions(photos: Photos) -> None:
    """Sets `photos.compressions` where no file said it, by at most MAX_ESTIMATES photos' pixels. Once."""
    if photos.inspected:
        return
    unknown = [index for index, known in enumerate(photos.compressions) if known is None]
    for index in unknown[:: max(1, -(-len(unknown) // MAX_ESTIMATES))]:
        photos.compressions[index] = estimate_compression(photos[index])
    photos.inspected = True


def collect_compressions(photos: Photos) -> tuple[Compression, ...]:
    """Returns the photos' different compressions, with how many have each. Empty if none is compressed.

    Photos without evidence are left out. Weak compressions come last.
    """
    inspect_compressions(photos)
    known = [photo.compression for photo in photos.compressions if photo]
    quality = {compression: nearest_quality(compression) for compression in set(known)}
    known.sort(key=lambda each: (quality[each], each.codec, each.luma, each.cb, each.sampling))
    limit = MAX_COUNT if len(quality) <= MAX_ENTRIES else MAX_ENTRIES
    if len(known) > limit:
        known = [known[number * len(known) // limit] for number in range(limit)]
    if not any(compression.is_lossy for compression in known):
        return ()
    return tuple(replace(compression, count=count) for compression, count in Counter(known).items())


def _transpose(table: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(table[8 * col + row] for row in range(8) for col in range(8))
