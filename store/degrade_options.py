"""The options of a degrade job, read from its parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class LrFormat(StrEnum):
    """Formats of low-resolution images. The values are also file suffixes. Each must be lossless."""

    png = "png"
    webp = "webp"


@dataclass(frozen=True)
class DegradeOptions:
    samples: int
    seed: int
    exclude: frozenset[str] = frozenset()  # "kernel", "noise"
    lr_format: LrFormat = LrFormat.png
    jpeg: tuple[int, int] | None = None  # lowest and highest quality of JPEG compression after the degradation
    min_detail: float | None = None  # skips a crop whose neighboring pixels differ less in the mean, 0..255

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Reads a job's parameters. Jobs of earlier versions lack options, which then have their defaults."""
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
        """Returns the JPEG quality of a sample, uniform in the range; None without compression."""
        if self.jpeg is None:
            return None
        lowest, highest = self.jpeg
        digest = hashlib.sha256(f"jpeg/{self.seed}/{key}/{sample}".encode()).digest()
        return lowest + int.from_bytes(digest[:8]) % (highest - lowest + 1)


def sample_seed_key(sha256: str, crop: Sequence[int] | None) -> str:
    """Returns the key that seeds an image's samples: its SHA-256, and the crop if there is one."""
    return sha256 if crop is None else "/".join(map(str, (sha256, *crop)))
