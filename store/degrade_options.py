"""What was asked of a degrade job, read from its record: by the worker, who does it, and by those who tell of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class LrFormat(StrEnum):
    """Both lossless."""

    png = "png"
    webp = "webp"


@dataclass(frozen=True)
class DegradeOptions:
    samples: int
    seed: int
    leave_out: frozenset[str] = frozenset()  # of kernel and noise
    lr_format: LrFormat = LrFormat.png
    jpeg: tuple[int, int] | None = None  # lowest and highest quality of a compression after the learned degradation
    min_detail: float | None = None

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """From a job's parameters; those of jobs from before an option had a name have none of it."""
        jpeg = parameters.get("jpeg")
        return cls(
            parameters["samples"],
            parameters["seed"],
            frozenset(parameters.get("leave_out", ())),
            LrFormat(parameters.get("lr_format", LrFormat.png)),
            (jpeg[0], jpeg[1]) if jpeg else None,
            parameters.get("min_detail"),
        )

    def jpeg_quality(self, key: str, sample: int) -> int | None:
        """Of one sample; every quality of the range is as likely. None without that stage."""
        if self.jpeg is None:
            return None
        lowest, highest = self.jpeg
        digest = hashlib.sha256(f"jpeg/{self.seed}/{key}/{sample}".encode()).digest()
        return lowest + int.from_bytes(digest[:8]) % (highest - lowest + 1)


def sample_key(sha256: str, crop: Sequence[int] | None) -> str:
    """What the random numbers of an image's samples are drawn by: its SHA-256, and where it is cut to what."""
    return sha256 if crop is None else "/".join(map(str, (sha256, *crop)))
