"""The names of a job's results, and their lines in a manifest: the same in archives, in shards and in the API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from store.db.tables import Item, Job
from store.degrade_options import DegradeOptions, sample_seed_key
from store.sr_options import SrOptions

SUFFIXES = {"lr": "png", "hr": "png", "kernel": "npy", "noise": "npy"}  # by kind of file


class Split(StrEnum):
    train = "train"
    validation = "validation"


def file_suffix(kind: str, parameters: Mapping[str, Any]) -> str:
    """Returns the suffix of a result file, without dot, in a job with these parameters."""
    if kind == "lr":
        return str(parameters.get("lr_format", SUFFIXES[kind]))
    return SrOptions.from_parameters(parameters).image_format.suffix if kind == "sr" else SUFFIXES[kind]


def hash_threshold(fraction: float) -> str:
    """Returns the prefix of a SHA-256 that this fraction of all hashes is less than."""
    share = round(fraction * 2**32)
    return f"{share:08x}" if share < 2**32 else "g"  # greater than every hex digit


def encode_line(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode()


@dataclass(frozen=True)
class ResultNames:
    """Names the results of a job and describes them.

    `scale` and `kernel_origin` (top, left) are None where they are unknown. `validation` is the fraction of the images
    in the validation split.
    """

    job: Job
    scale: int | None
    kernel_origin: Sequence[int] | None
    validation: float | None = None

    @classmethod
    def from_job(cls, job: Job) -> ResultNames:
        """Reads what a job of this version recorded."""
        return cls(
            job, job.parameters.get("scale"), job.parameters.get("kernel_origin"), job.parameters.get("validation")
        )

    def name(self, item: Item, sample: int) -> str:
        """Returns the name of a sample, which the paths of its files end with."""
        return f"{item.output_name}_{sample}" if self.job.kind == "degrade" else item.output_name

    def key(self, item: Item, sample: int) -> str:
        """Returns the sample's key in WebDataset: without dots, because data loaders end the key at the first one."""
        return self.name(item, sample).replace("%", "%25").replace(".", "%2E")

    def path(self, kind: str, item: Item, sample: int) -> str:
        """Returns the path of a file in an archive. All samples of an image share its clean image."""
        name = item.output_name if kind == "hr" else self.name(item, sample)
        return f"{kind}/{name}.{file_suffix(kind, self.job.parameters)}"

    def member(self, kind: str, item: Item, sample: int) -> str:
        """Returns the name of a file in WebDataset."""
        return f"{self.key(item, sample)}.{kind}.{file_suffix(kind, self.job.parameters)}"

    def line(self, item: Item, sample: int, kinds: Iterable[str]) -> dict[str, Any]:
        """Returns the manifest line of a sample with files of these kinds."""
        line = self._start(item, sample) | {"status": "ok"}
        line |= {kind: self.path(kind, item, sample) for kind in kinds}
        if self.validation is not None:
            is_validation = (item.sha256 or "") < hash_threshold(self.validation)
            line["split"] = Split.validation if is_validation else Split.train
        if self.scale is not None:
            line["scale"] = self.scale
        if self.kernel_origin is not None:
            line |= {"kernel_origin": self.kernel_origin, "padding": "reflect"}
        if item.crop:
            line["crop"] = item.crop
        if quality := self._jpeg_quality(item, sample):
            line |= {"jpeg_quality": quality, "adds_up": False}
        return line | {"model": self.job.model_id}

    def line_without_files(
        self, item: Item, sample: int, status: str, code: str | None, message: str | None
    ) -> dict[str, Any]:
        """Returns the manifest line of a sample that failed or was skipped."""
        return self._start(item, sample) | {"status": status, "code": code, "message": message}

    def _start(self, item: Item, sample: int) -> dict[str, Any]:
        line: dict[str, Any] = {"source": item.name, "source_sha256": item.sha256, "name": item.output_name}
        if self.job.kind == "degrade":
            line |= {"sample": sample, "seed": self.job.parameters["seed"]}
        return line

    def _jpeg_quality(self, item: Item, sample: int) -> int | None:
        if self.job.kind != "degrade" or item.sha256 is None:
            return None
        key = sample_seed_key(item.sha256, item.crop)
        return DegradeOptions.from_parameters(self.job.parameters).jpeg_quality(key, sample)
