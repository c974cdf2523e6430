"""Writes archives while they are sent, without building them first or holding them in memory."""

from __future__ import annotations

import tarfile
import zlib
from asyncio import Task, create_task
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import chain

from anyio import to_thread
from stream_zip import ZIP_64, Method, stream_zip

from app.archives.manifest import ArchivedFile, Manifest

MANIFEST = "manifest.jsonl"
MODE = 0o644
# A fixed date makes archives of the same job equal; 1980 is the earliest that a zip can hold.
DATE = datetime(1980, 1, 1)
CHUNK_BYTES = 2**18  # sent at a time; each chunk costs a call in a thread
_TAR_END = bytes(2 * tarfile.BLOCKSIZE)


async def stream(archive: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yields an archive in large chunks. While one is sent, the next is read and verified."""
    chunks = _join_chunks(archive)

    def read_next() -> Task[bytes | None]:
        return create_task(to_thread.run_sync(next, chunks, None))

    upcoming = read_next()
    try:
        while (chunk := await upcoming) is not None:
            upcoming = read_next()
            yield chunk
    finally:
        upcoming.cancel()


def _join_chunks(archive: Iterator[bytes]) -> Iterator[bytes]:
    """Joins headers and small files to chunks of at least `CHUNK_BYTES`."""
    parts, size = [], 0
    for part in archive:
        parts.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


def write_zip(manifest: Manifest) -> Iterator[bytes]:
    """Yields a zip of every file, then the manifest."""

    def members() -> Iterator[tuple[str, datetime, int, Method, Iterator[bytes]]]:
        for file in _unique_files(manifest):
            yield file.name, DATE, MODE, ZIP_64, file.open(manifest.store.blobs)[1]
        yield MANIFEST, DATE, MODE, ZIP_64, manifest.lines()

    # Level 0: PNG is compressed already and noise is incompressible, so deflating only costs time.
    return iter(stream_zip(members(), get_compressobj=lambda: zlib.compressobj(level=0, wbits=-zlib.MAX_WBITS)))


def write_tar(manifest: Manifest) -> Iterator[bytes]:
    """Yields a tar of every file, then the manifest."""
    for file in _unique_files(manifest):
        yield from _tar_member(file.name, *file.open(manifest.store.blobs))
    # A tar needs each member's size first, so an extra pass measures the lines instead of holding them.
    yield from _tar_member(MANIFEST, sum(map(len, manifest.lines())), manifest.lines())
    yield _TAR_END


def write_webdataset(manifest: Manifest, *, skip: int = 0, take: int | None = None) -> Iterator[bytes]:
    """Yields a shard: each successful sample's files, `KEY.lr.png` and so on, with its manifest line in `KEY.json`.

    It has no manifest, because WebDataset reads every member as part of a sample.
    """
    for sample in manifest.samples(only_ok=True, skip=skip, take=take):
        for file in sample.files:
            suffix = file.name.rpartition(".")[2]
            yield from _tar_member(f"{sample.key}.{file.kind}.{suffix}", *file.open(manifest.store.blobs))
        line = sample.to_json()
        yield from _tar_member(f"{sample.key}.json", len(line), iter([line]))
    yield _TAR_END


def _unique_files(manifest: Manifest) -> Iterator[ArchivedFile]:
    """Yields each file once: consecutive samples of an image share its clean image."""
    last_hr = ""
    for file in chain.from_iterable(sample.files for sample in manifest.samples()):
        if file.kind != "hr" or file.name != last_hr:
            yield file
        if file.kind == "hr":
            last_hr = file.name


def _tar_member(name: str, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, MODE
    yield header.tobuf(tarfile.PAX_FORMAT)
    yield from content
    yield bytes(-size % tarfile.BLOCKSIZE)
