"""What an archive holds: the name of every file, and the line of `manifest.jsonl` for every sample."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from store.jobs import JobRepository
from store.store import Store
from store.tables import Item, Job, Model, Sample

ROWS = 500  # samples read at a time: a million of them must not be in memory at once
SUFFIX = {"lr": "png", "sr": "png", "kernel": "npy", "noise": "npy"}


@dataclass(frozen=True)
class Manifest:
    """Reads its job's samples anew at each pass, so that it holds none of them."""

    store: Store
    job: Job
    model: Model | None

    def files(self) -> Iterator[tuple[str, str]]:
        """(name in the archive, SHA-256 of the blob) of every file."""
        for sample, item in self._samples():
            for what, sha256 in sample.files.items():
                yield self._file_name(what, sample, item), sha256

    def lines(self) -> Iterator[bytes]:
        """`manifest.jsonl`, line by line."""
        for sample, item in self._samples():
            yield json.dumps(self._line(sample, item), ensure_ascii=False).encode() + b"\n"

    def _line(self, sample: Sample, item: Item) -> dict[str, Any]:
        line: dict[str, Any] = {"source": item.name, "source_sha256": item.sha256}
        if self.job.kind == "degrade":
            line |= {"sample": sample.sample, "seed": self.job.parameters["seed"]}
        line["status"] = sample.status
        if sample.code is not None:
            return line | {"code": sample.code, "message": sample.message}
        line |= {what: self._file_name(what, sample, item) for what in sample.files}
        if self.model is not None:
            line["scale"] = self.model.scale
            if self.job.kind == "degrade":
                line |= {"kernel_origin": self.model.kernel_origin, "padding": "reflect"}
        return line | {"model": self.job.model_id}

    def _file_name(self, what: str, sample: Sample, item: Item) -> str:
        name = f"{item.stem}_{sample.sample}" if self.job.kind == "degrade" else item.stem
        return f"{what}/{name}.{SUFFIX[what]}"

    def _samples(self) -> Iterator[tuple[Sample, Item]]:
        after: tuple[int, int] | None = None
        while True:
            with self.store.database.read() as session:
                rows = JobRepository(session).samples(self.job.id, after=after, limit=ROWS)
            yield from rows
            if len(rows) < ROWS:
                return
            after = rows[-1][0].position, rows[-1][0].sample
