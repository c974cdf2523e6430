"""Archives that are made while they are sent: nothing is built first, nothing is held whole."""

from __future__ import annotations

import tarfile
import zlib
from asyncio import Task, create_task
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import chain

from anyio import to_thread
from stream_zip import ZIP_64, Method, stream_zip

from app.archives.manifest import ArchivedFile, Contents

MANIFEST = "manifest.jsonl"
READABLE = 0o644
# Fixed, so that the same job gives the same bytes; 1980 is the earliest that a zip can say.
DATE = datetime(1980, 1, 1)
PIECE = 2**18  # bytes that are sent at a time: each piece is a trip to a thread and back


async def sent(archive: Iterator[bytes]) -> AsyncIterator[bytes]:
    """An archive in pieces that are worth a trip; while one is sent, the next is read and looked through for damage."""
    pieces = _in_pieces(archive)

    def following() -> Task[bytes | None]:
        return create_task(to_thread.run_sync(next, pieces, None))

    coming = following()
    try:
        while (piece := await coming) is not None:
            coming = following()
            yield piece
    finally:
        coming.cancel()


def _in_pieces(archive: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes; heads and small files are gathered until there are enough of them to be sent."""
    gathered, size = [], 0
    for some in archive:
        gathered.append(some)
        size += len(some)
        if size >= PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def zipped(contents: Contents) -> Iterator[bytes]:
    """Every file, then the manifest."""

    def members() -> Iterator[tuple[str, datetime, int, Method, Iterator[bytes]]]:
        for file in _files(contents):
            yield file.name, DATE, READABLE, ZIP_64, file.open(contents.store.blobs)[1]
        yield MANIFEST, DATE, READABLE, ZIP_64, contents.lines()

    # Level 0: PNG is compressed and noise cannot be, so deflating would only cost time.
    return iter(stream_zip(members(), get_compressobj=lambda: zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)))


def tarred(contents: Contents) -> Iterator[bytes]:
    """Every file, then the manifest."""
    for file in _files(contents):
        yield from _tar_member(file.name, *file.open(contents.store.blobs))
    # A tar tells each member's size before its bytes; the lines are counted in a pass of their own, not held.
    yield from _tar_member(MANIFEST, sum(map(len, contents.lines())), contents.lines())
    yield _TAR_END


def webdataset(contents: Contents, *, skip: int = 0, take: int | None = None) -> Iterator[bytes]:
    """A shard: each good sample's files side by side, `KEY.lr.png` and so on, with its manifest line in `KEY.json`.

    There is no manifest: whatever is in a shard counts as a sample.
    """
    for sample in contents.samples(only_ok=True, skip=skip, take=take):
        for file in sample.files:
            suffix = file.name.rpartition(".")[2]
            yield from _tar_member(f"{sample.key}.{file.what}.{suffix}", *file.open(contents.store.blobs))
        line = sample.as_json()
        yield from _tar_member(f"{sample.key}.json", len(line), iter([line]))
    yield _TAR_END


def _files(contents: Contents) -> Iterator[ArchivedFile]:
    """Each once: the samples of an image share its clean one, and follow each other."""
    last = ""
    for file in chain.from_iterable(sample.files for sample in contents.samples()):
        if file.what != "hr" or file.name != last:
            yield file
        if file.what == "hr":
            last = file.name


_TAR_END = bytes(2 * tarfile.BLOCKSIZE)


def _tar_member(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    head = tarfile.TarInfo(name)
    head.size, head.mode = size, READABLE
    yield head.tobuf(tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE)
