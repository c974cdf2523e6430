"""The contents of an archive: for every sample its files and its line of `manifest.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.archives.hr import HrImageWriter
from app.archives.segments import ResultsChangedError
from store.db.tables import Item, Job, Sample
from store.files.blobs import Blobs
from store.files.stored_file import StoredFile
from store.manifest import ResultNames, Split, encode_line, hash_threshold
from store.repositories.jobs import JobRepository
from store.repositories.result_shards import ResultShardRepository
from store.repositories.samples import SampleFilter, SampleRepository
from store.store import Store

ROWS_BATCH = 500  # samples read per query; a million of them must not be in memory at once


@dataclass(frozen=True)
class ArchivedFile:
    kind: str
    name: str
    content: StoredFile | Callable[[], bytes]  # or a function that creates the bytes

    def open(self, blobs: Blobs) -> tuple[int, Iterator[bytes]]:
        """Returns (size in bytes, chunks)."""
        if isinstance(self.content, StoredFile):
            return self.content.size(blobs), self.content.iter_chunks(blobs)
        data = self.content()
        return len(data), iter([data])

    @property
    def crc32(self) -> int | None:
        """The CRC-32 of its bytes, if it is known without reading them."""
        return self.content.crc32 if isinstance(self.content, StoredFile) else None


@dataclass(frozen=True)
class ArchivedSample:
    key: str  # unique in the job, without dots
    line: dict[str, Any]
    files: list[ArchivedFile]

    def to_json(self) -> bytes:
        return encode_line(self.line)


@dataclass(frozen=True)
class Manifest:
    """Reads its job's samples from the database in each pass, and keeps none of them in memory."""

    store: Store
    names: ResultNames
    hr: bool = False
    leave_out: frozenset[str] = frozenset()
    split: Split | None = None

    @property
    def job(self) -> Job:
        return self.names.job

    def samples(self, *, only_ok: bool = False, skip: int = 0, take: int | None = None) -> Iterator[ArchivedSample]:
        """Yields samples in the order of images and sample numbers. `skip` and `take` count filtered samples.

        Raises `ResultsChangedError` if the samples were deleted or the job was retried meanwhile. A download must
        then break off, because its end would look complete.
        """
        hr_writer = HrImageWriter(self.store, self.names.scale) if self.hr and self.names.scale else None
        after: tuple[int, int] | None = None
        sample_filter = self._filter(only_ok)
        while take is None or take > 0:
            limit = ROWS_BATCH if take is None else min(ROWS_BATCH, take)
            with self.store.database.read() as session:
                rows = SampleRepository(session).list_samples(
                    self.job.id, sample_filter, after=after, skip=skip, limit=limit
                )
                numbers = {sample.shard for sample, _ in rows if sample.shard is not None}
                shards = ResultShardRepository(session).hashes(self.job.id, numbers)
            for sample, item in rows:
                shard = None if sample.shard is None else shards[sample.shard]
                yield self._archive(sample, item, shard, hr_writer)
            if len(rows) < limit:
                break
            skip, take = 0, None if take is None else take - len(rows)
            after = rows[-1][0].position, rows[-1][0].sample
        self.check_unchanged()

    def check_unchanged(self) -> None:
        """Raises `ResultsChangedError` if the samples were deleted or the job was retried meanwhile."""
        with self.store.database.read() as session:
            job = JobRepository(session).get(self.job.id)
        if job is None or job.expired_at is not None or job.finished_at != self.job.finished_at:
            raise ResultsChangedError(f"job {self.job.id}")

    def lines(self) -> Iterator[bytes]:
        """Yields the lines of `manifest.jsonl`."""
        for sample in self.samples():
            yield sample.to_json() + b"\n"

    def count_ok(self) -> int:
        with self.store.database.read() as session:
            return SampleRepository(session).count_samples(self.job.id, self._filter(only_ok=True))

    def _filter(self, only_ok: bool) -> SampleFilter:
        if self.split is None or self.names.validation is None:
            return SampleFilter(only_ok)
        threshold = hash_threshold(self.names.validation)
        return SampleFilter(only_ok, *((None, threshold) if self.split is Split.validation else (threshold, None)))

    def _archive(
        self, sample: Sample, item: Item, shard: str | None, hr_writer: HrImageWriter | None
    ) -> ArchivedSample:
        names, number = self.names, sample.sample
        key = names.key(item, number)
        if sample.code is not None:
            line = names.line_without_files(item, number, sample.status, sample.code, sample.message)
            return ArchivedSample(key, line, [])
        files = [
            ArchivedFile(kind, names.path(kind, item, number), StoredFile.from_record(value, shard))
            for kind, value in sample.files.items()
            if kind not in self.leave_out
        ]
        if hr_writer and files:
            files.insert(0, ArchivedFile("hr", names.path("hr", item, number), partial(hr_writer.write, item)))
        return ArchivedSample(key, names.line(item, number, [file.kind for file in files]), files)
