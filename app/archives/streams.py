"""Writes archives while they are sent, without building them first or holding them in memory."""

from __future__ import annotations

from asyncio import Task, create_task
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import chain

from anyio import to_thread

from app.archives.manifest import ArchivedFile, Manifest
from app.archives.segments import Segment, literal
from app.archives.zip import ZipMember, write_zip
from store.files.blobs import Blobs
from store.repositories.result_shards import ResultShardRepository
from store.tar import END, tar_header, tar_padding

MANIFEST = "manifest.jsonl"
SHARDS_BATCH = 500  # rows read per query
CHUNK_BYTES = 2**18  # sent at a time; each chunk costs a call in a thread


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


def zip_segments(manifest: Manifest) -> Iterator[Segment]:
    """Yields a zip of every file, then the manifest."""

    def members() -> Iterator[ZipMember]:
        for file in _unique_files(manifest):
            yield ZipMember(file.name, partial(file.open, manifest.store.blobs), file.crc32)
        yield ZipMember(MANIFEST, lambda: (_count_bytes(manifest.lines()), manifest.lines()))

    return write_zip(members, manifest.store.blobs.temporary)


def tar_segments(manifest: Manifest) -> Iterator[Segment]:
    """Yields a tar of every file, then the manifest."""
    for file in _unique_files(manifest):
        yield from _tar_member(file.name, *file.open(manifest.store.blobs))
    # A tar needs each member's size first, so an extra pass measures the lines instead of holding them.
    yield from _tar_member(MANIFEST, _count_bytes(manifest.lines()), manifest.lines())
    yield literal(END)


def webdataset_segments(manifest: Manifest, *, skip: int = 0, take: int | None = None) -> Iterator[Segment]:
    """Yields a shard: each successful sample's files, `KEY.lr.png` and so on, with its manifest line in `KEY.json`.

    It has no manifest, because WebDataset reads every member as part of a sample.
    """
    for sample in manifest.samples(only_ok=True, skip=skip, take=take):
        for file in sample.files:
            suffix = file.name.rpartition(".")[2]
            yield from _tar_member(f"{sample.key}.{file.kind}.{suffix}", *file.open(manifest.store.blobs))
        line = sample.to_json()
        yield from _tar_member(f"{sample.key}.json", len(line), iter([line]))
    yield literal(END)


def stored_segments(manifest: Manifest) -> Iterator[Segment]:
    """Yields the shards of a job with `store=shards` as one tar."""
    store, last = manifest.store, -1
    while True:
        with store.database.read() as session:
            shards = ResultShardRepository(session).list(manifest.job.id, after=last, limit=SHARDS_BATCH)
        for shard in shards:
            yield Segment(shard.size - len(END), partial(_without_end, store.blobs, shard.sha256))
        if len(shards) < SHARDS_BATCH:
            break
        last = shards[-1].number
    manifest.check_unchanged()
    yield literal(END)


def _without_end(blobs: Blobs, sha256: str) -> Iterator[bytes]:
    """Yields all but the last bytes of a tar, which say that it ends."""
    held = b""
    for chunk in blobs.iter_chunks(sha256):
        data = held + chunk
        held = data[-len(END) :]
        if data := data[: -len(END)]:
            yield data


def _count_bytes(chunks: Iterator[bytes]) -> int:
    return sum(map(len, chunks))


def _unique_files(manifest: Manifest) -> Iterator[ArchivedFile]:
    """Yields each file once: consecutive samples of an image share its clean image."""
    last_hr = ""
    for file in chain.from_iterable(sample.files for sample in manifest.samples()):
        if file.kind != "hr" or file.name != last_hr:
            yield file
        if file.kind == "hr":
            last_hr = file.name


def _tar_member(name: str, size: int, content: Iterator[bytes]) -> Iterator[Segment]:
    yield literal(tar_header(name, size))
    yield Segment(size, lambda: content)
    yield literal(tar_padding(size))
