"""Forms of requests for archives."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class ArchiveFormat(StrEnum):
    zip = "zip"
    tar = "tar"
    webdataset = "webdataset"


class Split(StrEnum):
    train = "train"
    validation = "validation"


class Extra(StrEnum):
    """Files of a sample that it can be used without."""

    kernel = "kernel"
    noise = "noise"


class ArchiveQuery(BaseModel):
    """The query."""

    model_config = ConfigDict(extra="forbid")

    format: ArchiveFormat | None = Field(
        None, description="Unset: the one that was asked for with the job. `webdataset` is a tar, too."
    )
    hr: bool = Field(
        False, description="With the clean images that the low-resolution ones were made of, cut to fit, as PNG."
    )
    leave_out: list[Extra] = Field(
        default_factory=list, description="What is not wanted; noise is most of an archive's bytes."
    )
    validation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Fraction of the images that is set apart for validation, by their SHA-256: all samples of an "
        "image are on one side, and it stays there whatever comes to it. Unset: the one asked for with the job.",
    )
    split: Split | None = Field(None, description="Only this side of the split. Unset: both.")
    shard_size: int | None = Field(
        None, ge=1, lt=2**31, description="Of webdataset: samples in a shard. Unset: all in one."
    )
    shard: int = Field(0, ge=0, lt=2**31, description="Of webdataset: number of the shard, from 0.")
