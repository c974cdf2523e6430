"""Where the files of results go: each into a blob, or with those of other samples into a shard (`store=shards`)."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from store.db.tables import Item
from store.errors import LeaseLostError
from store.files.blobs import CHUNK, Blobs, read_part
from store.manifest import ResultNames, encode_line
from store.repositories.claims import Claim
from store.repositories.samples import NewResultShard, NewSample
from store.result_store import ResultStore, result_store
from store.store import Store
from store.tar import END, tar_header, tar_padding
from worker.jobs.items import PendingItem
from worker.runtime.progress import ProgressRecorder, Result, Unrecorded

# A shard is finished when it reaches one of these limits: what a worker loses if it is killed.
SHARD_SAMPLES = 1000
SHARD_BYTES = 2**30
SHARD_AGE_SECONDS = 60.0


@dataclass(frozen=True)
class EncodedSample:
    """The encoded files of one sample, by kind."""

    item: PendingItem
    sample: int
    files: dict[str, bytes]

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


class ResultFiles(ABC):
    """Threads may call it at the same time."""

    @abstractmethod
    def put_all(self, samples: Sequence[EncodedSample]) -> Iterator[Result]:
        """Stores the files of samples and yields their results, also those of the items' copies."""

    @abstractmethod
    def put_file(self, item: PendingItem, kind: str, file: Path) -> Iterator[Result]:
        """Stores the only file of an item's sample 0 and yields its results. Moves the file, a local one."""

    @abstractmethod
    def take(self) -> list[NewResultShard]:
        """Returns the shards that were finished since the last call."""

    @abstractmethod
    def close(self) -> None:
        """Finishes what is open. No thread may call it meanwhile."""


class BlobFiles(ResultFiles):
    """Each file is a blob."""

    def __init__(self, blobs: Blobs):
        self._blobs = blobs

    def put_all(self, samples: Sequence[EncodedSample]) -> Iterator[Result]:
        sha256s = iter(self._blobs.put_all([data for each in samples for data in each.files.values()]))
        for each in samples:
            yield from each.item.succeed(each.sample, {kind: next(sha256s) for kind in each.files})

    def put_file(self, item: PendingItem, kind: str, file: Path) -> Iterator[Result]:
        yield from item.succeed(0, {kind: self._blobs.put_file(file)})

    def take(self) -> list[NewResultShard]:
        return []

    def close(self) -> None:
        """Does nothing: each file is finished."""


class ShardFiles(ResultFiles):
    """Files are collected in a local file in `folder`, and then written as a tar, sorted by name, that is a blob."""

    def __init__(self, blobs: Blobs, names: ResultNames, folder: Path):
        self._blobs = blobs
        self._names = names
        self._folder = folder
        self._lock = threading.Lock()
        self._open: _Spool | None = None
        self._finished: list[NewResultShard] = []
        self._count = 0

    def put_all(self, samples: Sequence[EncodedSample]) -> Iterator[Result]:
        for each in samples:
            yield self._put(each.item, each.sample, {kind: iter([data]) for kind, data in each.files.items()})

    def put_file(self, item: PendingItem, kind: str, file: Path) -> Iterator[Result]:
        yield self._put(item, 0, {kind: read_part(file, 0, file.stat().st_size)})

    def take(self) -> list[NewResultShard]:
        with self._lock:
            finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        spool, self._open = self._open, None
        if spool is not None:
            self._finish(spool)

    def _put(self, item: PendingItem, sample: int, files: dict[str, Iterator[bytes]]) -> Unrecorded:
        with self._lock:
            spool = self._open = self._open or self._create_spool()
            contents = {kind: spool.append(chunks) for kind, chunks in files.items()}
            for each in item.items:
                line = spool.append(iter([encode_line(self._names.line(each, sample, files))]))
                spool.add(each, sample, contents, line)
            if is_full := spool.is_full:
                self._open = None
        if is_full:
            self._finish(spool)  # while other threads go on with the next one
        return Unrecorded(len(item.items))

    def _create_spool(self) -> _Spool:
        self._count += 1
        return _Spool(self._folder / f"{self._count}.spool")

    def _finish(self, spool: _Spool) -> None:
        """Writes the tar and stores it."""
        path = spool.path.with_suffix(".tar")
        shard = _write_tar(spool, self._names, path)
        spool.remove()
        self._blobs.move_in(path, shard.sha256)
        with self._lock:
            self._finished.append(shard)


@contextmanager
def record_results(store: Store, claim: Claim) -> Iterator[tuple[ProgressRecorder, ResultFiles]]:
    """Yields where results and their files go. Records every result at the end, also when the work is interrupted."""
    job = claim.job
    with ExitStack() as stack:
        files: ResultFiles = BlobFiles(store.blobs)
        if result_store(job.parameters) is ResultStore.shards:
            folder = stack.enter_context(store.blobs.scratch())
            files = ShardFiles(store.blobs, ResultNames.from_job(job), folder)
        recorder = ProgressRecorder(store, job.id, job.attempt, files)
        try:
            yield recorder, files
        except LeaseLostError:  # another worker generates them again
            raise
        except BaseException:
            files.close()
            recorder.record()
            raise
        files.close()
        recorder.record()


@dataclass(frozen=True)
class _Content:
    """Bytes of a spool, from `start` on."""

    start: int
    size: int
    crc32: int


@dataclass
class _Spool:
    """The samples of an unfinished shard, in the order in which they were finished."""

    path: Path
    samples: list[tuple[Item, int, dict[str, _Content], _Content]] = field(default_factory=list)  # with their lines
    _size: int = 0
    _created: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._file = self.path.open("w+b", buffering=CHUNK)

    def append(self, chunks: Iterator[bytes]) -> _Content:
        start, checksum = self._size, 0
        for chunk in chunks:
            checksum = zlib.crc32(chunk, checksum)
            self._size += self._file.write(chunk)
        return _Content(start, self._size - start, checksum)

    def add(self, item: Item, sample: int, contents: dict[str, _Content], line: _Content) -> None:
        self.samples.append((item, sample, contents, line))

    @property
    def is_full(self) -> bool:
        too_old = time.monotonic() - self._created >= SHARD_AGE_SECONDS
        return len(self.samples) >= SHARD_SAMPLES or self._size >= SHARD_BYTES or too_old

    def read(self, content: _Content) -> Iterator[bytes]:
        self._file.flush()
        for start in range(0, content.size, CHUNK):
            yield os.pread(self._file.fileno(), min(CHUNK, content.size - start), content.start + start)

    def remove(self) -> None:
        self._file.close()
        self.path.unlink()


def _write_tar(spool: _Spool, names: ResultNames, path: Path) -> NewResultShard:
    """Writes all files of a spool as a tar, sorted by name, and returns its record."""
    results, members = list[NewSample](), list[tuple[str, _Content, NewSample, str | None]]()
    for item, sample, contents, line in spool.samples:
        result = NewSample(item.position, sample, dict.fromkeys(contents))
        results.append(result)
        members.append((f"{names.key(item, sample)}.json", line, result, None))
        members += [(names.member(kind, item, sample), content, result, kind) for kind, content in contents.items()]
    digest, position = hashlib.sha256(), 0
    with path.open("wb", buffering=CHUNK) as tar:
        for name, content, result, kind in sorted(members, key=lambda member: member[0]):
            header = tar_header(name, content.size)
            if kind is not None:
                result.files[kind] = [position + len(header), content.size, content.crc32]
            for data in chain([header], spool.read(content), [tar_padding(content.size)]):
                digest.update(data)
                position += tar.write(data)
        digest.update(END)
        position += tar.write(END)
    return NewResultShard(digest.hexdigest(), position, results)
