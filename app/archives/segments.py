"""An archive as a sequence of segments whose sizes are known before their bytes are read.

So its length can be computed, and a part of it can be read, without reading all that comes before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from app.http.ranges import ByteRange


class ResultsChangedError(Exception):
    """The job or its results were deleted, or the job was retried, while the archive was read."""


@dataclass(frozen=True)
class Segment:
    size: int  # bytes
    read: Callable[[], Iterator[bytes]]


def literal(data: bytes) -> Segment:
    return Segment(len(data), lambda: iter([data]))


def measure(segments: Iterable[Segment]) -> int:
    """Returns the length of the archive in bytes."""
    return sum(segment.size for segment in segments)


def read_all(segments: Iterable[Segment]) -> Iterator[bytes]:
    """Yields the bytes of the archive. Raises `ResultsChangedError` if a segment has another size than announced."""
    for segment in segments:
        yield from _read(segment)


def read_part(segments: Iterable[Segment], byte_range: ByteRange) -> Iterator[bytes]:
    """Yields these bytes of the archive. Segments outside of the range are not read."""
    position = 0
    for segment in segments:
        start, position = position, position + segment.size
        if position <= byte_range.start:
            continue
        for chunk in _read(segment):
            end = start + len(chunk)
            if part := chunk[max(0, byte_range.start - start) : max(0, byte_range.stop - start)]:
                yield part
            start = end
            if start >= byte_range.stop:
                return


def _read(segment: Segment) -> Iterator[bytes]:
    size = 0
    for chunk in segment.read():
        size += len(chunk)
        yield chunk
    if size != segment.size:
        raise ResultsChangedError(f"{size} bytes where {segment.size} were announced")
