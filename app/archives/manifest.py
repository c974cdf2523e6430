"""What an archive holds: for every sample its files, and the line of `manifest.jsonl` that tells about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.archives.hr import HrImageWriter
from app.archives.schemas import Split
from store.db.tables import Item, Job, Sample
from store.degrade_options import DegradeOptions, sample_key
from store.files.blobs import Blobs
from store.repositories.jobs import JobRepository, SampleFilter
from store.store import Store

ROWS = 500  # samples read at a time: a million of them must not be in memory at once
SUFFIX = {"lr": "png", "hr": "png", "sr": "png", "kernel": "npy", "noise": "npy"}


def suffix(what: str, parameters: Mapping[str, Any]) -> str:
    """Of a result's file, in a job with these parameters."""
    return str(parameters.get("lr_format", SUFFIX[what])) if what == "lr" else SUFFIX[what]


class ResultsChangedError(Exception):
    """The job or its results were deleted while they were read, or it has begun again and makes others."""


@dataclass(frozen=True)
class ArchivedFile:
    what: str
    name: str
    content: str | Callable[[], bytes]  # the SHA-256 of a blob; or what is made when it is its turn

    def open(self, blobs: Blobs) -> tuple[int, Iterator[bytes]]:
        """(size, pieces)."""
        if isinstance(self.content, str):
            return blobs.size(self.content), blobs.chunks(self.content)
        made = self.content()
        return len(made), iter([made])


@dataclass(frozen=True)
class ArchivedSample:
    key: str  # names it within the job
    line: dict[str, Any]
    files: list[ArchivedFile]

    def as_json(self) -> bytes:
        return json.dumps(self.line, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Contents:
    """Reads its job's samples anew at each pass, so that it holds none of them."""

    store: Store
    job: Job
    scale: int | None  # None: of a job from before it was kept, whose model is gone
    kernel_origin: Sequence[int] | None  # likewise, and of super-resolution
    hr: bool = False
    leave_out: frozenset[str] = frozenset()
    validation: float | None = None
    split: Split | None = None

    def samples(self, *, only_ok: bool = False, skip: int = 0, take: int | None = None) -> Iterator[ArchivedSample]:
        """In the order of images and samples; `skip` and `take` count those that are left after the others are out.

        Raises `ResultsChangedError` where they are deleted meanwhile, or the job is retried, so that another pass would
        tell of others: what is sent must break off, not end early.
        """
        clean = HrImageWriter(self.store, self.scale) if self.hr and self.scale else None
        after: tuple[int, int] | None = None
        wanted = self._filter(only_ok)
        while take is None or take > 0:
            limit = ROWS if take is None else min(ROWS, take)
            with self.store.database.read() as session:
                rows = JobRepository(session).samples(self.job.id, wanted, after=after, skip=skip, limit=limit)
            for sample, item in rows:
                yield self._archived(sample, item, clean)
            if len(rows) < limit:
                break
            skip, take = 0, None if take is None else take - len(rows)
            after = rows[-1][0].position, rows[-1][0].sample

        with self.store.database.read() as session:
            job = JobRepository(session).get(self.job.id)
        if job is None or job.expired is not None or job.finished != self.job.finished:
            raise ResultsChangedError(f"job {self.job.id}")

    def lines(self) -> Iterator[bytes]:
        """`manifest.jsonl`, line by line."""
        for sample in self.samples():
            yield sample.as_json() + b"\n"

    def count_ok(self) -> int:
        with self.store.database.read() as session:
            return JobRepository(session).count_samples(self.job.id, self._filter(only_ok=True))

    def _filter(self, only_ok: bool) -> SampleFilter:
        if self.split is None or self.validation is None:
            return SampleFilter(only_ok)
        border = _border(self.validation)
        return SampleFilter(only_ok, *((None, border) if self.split is Split.validation else (border, None)))

    def _archived(self, sample: Sample, item: Item, clean: HrImageWriter | None) -> ArchivedSample:
        key = f"{item.stem}_{sample.sample}" if self.job.kind == "degrade" else item.stem
        kept = {what: sha256 for what, sha256 in sample.files.items() if what not in self.leave_out}
        files = [
            ArchivedFile(what, f"{what}/{key}.{suffix(what, self.job.parameters)}", sha256)
            for what, sha256 in kept.items()
        ]
        if clean and files:
            files.insert(0, ArchivedFile("hr", f"hr/{item.stem}.png", partial(clean.png, item)))
        return ArchivedSample(key, self._line(sample, item, files), files)

    def _line(self, sample: Sample, item: Item, files: list[ArchivedFile]) -> dict[str, Any]:
        line: dict[str, Any] = {"source": item.name, "source_sha256": item.sha256}
        if self.job.kind == "degrade":
            line |= {"sample": sample.sample, "seed": self.job.parameters["seed"]}
        line["status"] = sample.status
        if sample.code is not None:
            return line | {"code": sample.code, "message": sample.message}
        line |= {file.what: file.name for file in files}
        if self.validation is not None:
            apart = (item.sha256 or "") < _border(self.validation)
            line["split"] = Split.validation if apart else Split.train
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
        key = sample_key(item.sha256, item.crop)
        return DegradeOptions.of(self.job.parameters).jpeg_quality(key, sample.sample)


def _border(fraction: float) -> str:
    """The SHA-256, or its start, that so large a fraction of all lies below."""
    share = round(fraction * 2**32)
    return f"{share:08x}" if share < 2**32 else "g"  # behind every digit
