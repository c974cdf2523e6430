"""Archive query schema."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from store.manifest import Split


class ArchiveFormat(StrEnum):
    zip = "zip"
    tar = "tar"
    webdataset = "webdataset"


class Extra(StrEnum):
    """Files of a sample that are optional."""

    kernel = "kernel"
    noise = "noise"


class ArchiveQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: ArchiveFormat | None = Field(
        None, description="Default: the format that was requested with the job. `webdataset` is also a tar."
    )
    hr: bool = Field(
        False, description="Include the clean images of the low-resolution ones, cropped to match them, as PNG."
    )
    leave_out: list[Extra] = Field(
        default_factory=list, description="Files to leave out. Noise is the largest part of an archive."
    )
    validation: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Fraction of the images in the validation split, chosen by their SHA-256. All samples of an image "
        "are in the same split; adding images does not change it. Default: the fraction requested with the job.",
    )
    split: Split | None = Field(None, description="Only this split. Default: both.")
    shard_size: int | None = Field(
        None, ge=1, lt=2**31, description="WebDataset: samples per shard. Default: all in one shard."
    )
    shard: int = Field(0, ge=0, lt=2**31, description="WebDataset: number of the shard, from 0.")


class ShardRead(BaseModel):
    """A tar with the files of samples: `KEY.lr.png`, `KEY.json` and so on."""

    number: int = Field(description="From 0.")
    samples: int
    size: int = Field(description="Bytes.")
    sha256: str
    links: dict[str, str] = Field(description="`self` is the tar.")
