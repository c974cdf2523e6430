"""The contents of an archive: for every sample its files and its line of `manifest.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.archives.hr import HrImageWriter
from app.archives.schemas import Split
from app.archives.segments import ResultsChangedError
from app.jobs.service import file_suffix
from store.db.tables import Item, Job, Sample
from store.degrade_options import DegradeOptions, sample_seed_key
from store.files.blobs import Blobs
from store.repositories.jobs import JobRepository
from store.repositories.samples import SampleFilter, SampleRepository
from store.store import Store

ROWS_BATCH = 500  # samples read per query; a million of them must not be in memory at once


@dataclass(frozen=True)
class ArchivedFile:
    kind: str
    name: str
    content: str | Callable[[], bytes]  # the SHA-256 of a blob, or a function that creates the bytes

    def open(self, blobs: Blobs) -> tuple[int, Iterator[bytes]]:
        """Returns (size in bytes, chunks)."""
        if isinstance(self.content, str):
            return blobs.size(self.content), blobs.iter_chunks(self.content)
        data = self.content()
        return len(data), iter([data])


@dataclass(frozen=True)
class ArchivedSample:
    key: str  # unique in the job, without dots
    line: dict[str, Any]
    files: list[ArchivedFile]

    def to_json(self) -> bytes:
        return json.dumps(self.line, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Manifest:
    """Reads its job's samples from the database in each pass, and keeps none of them in memory."""

    store: Store
    job: Job
    scale: int | None  # None for an old job that did not record it and whose model was deleted
    kernel_origin: Sequence[int] | None  # (top, left); None for super-resolution, and as for `scale`
    hr: bool = False
    leave_out: frozenset[str] = frozenset()
    validation: float | None = None
    split: Split | None = None

    def samples(self, *, only_ok: bool = False, skip: int = 0, take: int | None = None) -> Iterator[ArchivedSample]:
        """Yields samples in the order of images and sample numbers. `skip` and `take` count filtered samples.

        Raises `ResultsChangedError` if the samples were deleted or the job was retried meanwhile. A download must
        then break off, because its end would look complete.
        """
        hr_writer = HrImageWriter(self.store, self.scale) if self.hr and self.scale else None
        after: tuple[int, int] | None = None
        sample_filter = self._filter(only_ok)
        while take is None or take > 0:
            limit = ROWS_BATCH if take is None else min(ROWS_BATCH, take)
            with self.store.database.read() as session:
                rows = SampleRepository(session).list_samples(
                    self.job.id, sample_filter, after=after, skip=skip, limit=limit
                )
            for sample, item in rows:
                yield self._archive(sample, item, hr_writer)
            if len(rows) < limit:
                break
            skip, take = 0, None if take is None else take - len(rows)
            after = rows[-1][0].position, rows[-1][0].sample

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
        if self.split is None or self.validation is None:
            return SampleFilter(only_ok)
        threshold = _hash_threshold(self.validation)
        return SampleFilter(only_ok, *((None, threshold) if self.split is Split.validation else (threshold, None)))

    def _archive(self, sample: Sample, item: Item, hr_writer: HrImageWriter | None) -> ArchivedSample:
        name = f"{item.output_name}_{sample.sample}" if self.job.kind == "degrade" else item.output_name
        files = [
            ArchivedFile(kind, f"{kind}/{name}.{file_suffix(kind, self.job.parameters)}", sha256)
            for kind, sha256 in sample.files.items()
            if kind not in self.leave_out
        ]
        if hr_writer and files:
            files.insert(0, ArchivedFile("hr", f"hr/{item.output_name}.png", partial(hr_writer.write, item)))
        return ArchivedSample(encode_key(name), self._line(sample, item, files), files)

    def _line(self, sample: Sample, item: Item, files: list[ArchivedFile]) -> dict[str, Any]:
        line: dict[str, Any] = {"source": item.name, "source_sha256": item.sha256, "name": item.output_name}
        if self.job.kind == "degrade":
            line |= {"sample": sample.sample, "seed": self.job.parameters["seed"]}
        line["status"] = sample.status
        if sample.code is not None:
            return line | {"code": sample.code, "message": sample.message}
        line |= {file.kind: file.name for file in files}
        if self.validation is not None:
            is_validation = (item.sha256 or "") < _hash_threshold(self.validation)
            line["split"] = Split.validation if is_validation else Split.train
        if self.scale is not None:
            line["scale"] = self.scale
        if self.kernel_origin is not None:
            line |= {"kernel_origin": self.kernel_origin, "padding": "reflect"}
        if item.crop:
            line["crop"] = item.crop
        if quality := self._jpeg_quality(sample, item):
            line |= {"jpeg_quality": quality, "adds_up": False}
        return line | {"model": self.job.model_id}

    def _jpeg_quality(self, sample: Sample, item: Item) -> int | None:
        if self.job.kind != "degrade" or item.sha256 is None:
            return None
        key = sample_seed_key(item.sha256, item.crop)
        return DegradeOptions.from_parameters(self.job.parameters).jpeg_quality(key, sample.sample)


def encode_key(name: str) -> str:
    """Returns a name as a WebDataset key: without dots, because data loaders end the key at the first one."""
    return name.replace("%", "%25").replace(".", "%2E")


def _hash_threshold(fraction: float) -> str:
    """Returns the prefix of a SHA-256 that this fraction of all hashes is less than."""
    share = round(fraction * 2**32)
    return f"{share:08x}" if share < 2**32 else "g"  # greater than every hex digit
