"""Dataset request and response schemas."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.http.schemas import FileWarning, Id, RejectedFile, Timestamp
from app.jobs.options import PRIORITY, Priority
from app.jobs.schemas import JobRead
from store.scales import Scale

TRAINING_PATCH = 32  # side in low-resolution pixels; a training image must be at least this large

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
]


class Role(StrEnum):
    lr = "lr"
    hr = "hr"


class Preset(StrEnum):
    """Training presets. They repeat the names of `training.presets`, which the API must not import."""

    default = "default"
    seed = "seed"
    ntire2020_track1 = "ntire2020-track1"
    ntire2018_track2 = "ntire2018-track2"
    ntire2018_track4 = "ntire2018-track4"
    ntire2017_track2 = "ntire2017-track2"


class PhotoChecks(StrEnum):
    off = "off"
    warn = "warn"
    leave_out = "leave_out"


class DatasetCreate(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "photos of an old phone", "scale": 4}}
    )

    name: Name
    scale: Scale = Field(
        description="Ratio of high-resolution to low-resolution size. 1 keeps the size: denoise, deblur, remove JPEG."
    )


class DatasetUpdate(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"shared": True}})

    shared: bool = Field(description="Whether every token may see and use it.")


class DatasetRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01jd3v9k5m8q2x7c4n6b1z0w5e",
                "name": "photos of an old phone",
                "scale": 4,
                "shared": False,
                "images": {"lr": 120, "hr": 29},
                "models": ["01jd3vqz0r6f8h2k4m6p8s0v2x"],
                "last_job": None,
                "created": "2026-01-31T12:00:00Z",
            }
        }
    )

    id: str
    name: str
    scale: int
    shared: bool = Field(description="Whether every token may see and use it.")
    images: dict[Role, int] = Field(description="Number of real low-resolution images and of clean images.")
    models: list[str] = Field(description="Ids of the models trained on it, newest first.")
    last_job: JobRead | None
    created: Timestamp


class FindingRead(BaseModel):
    """Something that is wrong with a photo."""

    code: str = Field(examples=["enlarged"], description="Stable; docs/photo-checks.md lists all.")
    severity: Literal["left_out", "warning"] = Field(
        description="Whether a training leaves the photo out, unless most photos of its role have the same finding."
    )
    message: str = Field(description="What was found, and what to do.")
    value: float | None = Field(description="Its measure, such as the factor of an enlargement.")


class ImageRead(BaseModel):
    id: str
    name: str
    sha256: str
    width: int
    height: int
    role: Role
    checked: bool = Field(False, description="Whether the photo's pixels were checked; soon after it arrived.")
    findings: list[FindingRead] = Field([], description="What is wrong with the photo, empty if nothing is.")


class CheckedPhotoRead(BaseModel):
    """A photo with findings."""

    id: str
    name: str
    role: Role
    left_out: bool = Field(description="Whether a training leaves it out.")
    findings: list[FindingRead]


class MixtureRead(BaseModel):
    """Something that divides the real photos into kinds."""

    code: str = Field(examples=["mixed_formats"])
    message: str


class PhotoChecksRead(BaseModel):
    """What is wrong with the photos of a dataset, seen before a training."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "checked": 149,
                "unchecked": 0,
                "left_out": {"lr": 1, "hr": 0},
                "findings": {"lr": {"enlarged": 1}, "hr": {}},
                "mixtures": [],
                "photos": [
                    {
                        "id": "01jd3va1b2c3d4e5f6g7h8j9k0",
                        "name": "IMG_0001.jpg",
                        "role": "lr",
                        "left_out": True,
                        "findings": [
                            {
                                "code": "enlarged",
                                "severity": "left_out",
                                "message": "The photo was enlarged (2 times). Add it in its original size.",
                                "value": 2.0,
                            }
                        ],
                    }
                ],
            }
        }
    )

    checked: int = Field(description="Number of photos that were checked.")
    unchecked: int = Field(description="Number of photos that were not checked yet. Their training checks them first.")
    left_out: dict[Role, int] = Field(description="Number of photos that a training leaves out.")
    findings: dict[Role, dict[str, int]] = Field(description="Number of photos with each finding.")
    mixtures: list[MixtureRead] = Field(description="What divides the real photos into kinds.")
    photos: list[CheckedPhotoRead] = Field(description="The photos with findings, at most 1000.")


class TrainRead(JobRead):
    """The job, and what is wrong with the photos."""

    photo_checks: PhotoChecksRead | None = Field(description="Null if the request has `photo_checks: off`.")


class ImageUploadResponse(BaseModel):
    """The outcome for each file. Files with the same bytes are one image, with one id."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "accepted": [
                    {
                        "id": "01jd3va1b2c3d4e5f6g7h8j9k0",
                        "name": "IMG_0001.jpg",
                        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                        "width": 1024,
                        "height": 768,
                        "role": "lr",
                    }
                ],
                "rejected": [
                    {"name": "notes.txt", "code": "not_an_image", "message": "The file is not a PNG, JPEG, …"}
                ],
                "warnings": [
                    {"name": "IMG_0001.jpg", "code": "trailing_data", "message": "2,400,112 bytes follow the image, …"}
                ],
            }
        }
    )

    accepted: list[ImageRead]
    rejected: list[RejectedFile]
    warnings: list[FileWarning] = Field([], description="What the sender should know of accepted files.")


# After the digests of idempotent requests were first stored.
TRAIN_FIELDS_ADDED = ("warm_start", "photo_checks", "priority")


class TrainRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"preset": "default", "max_minutes": 10, "seed": 0}}
    )

    preset: Preset = Field(Preset.default, description="Preset. `default` is Patina's own; the others are the paper's.")
    max_steps: int | None = Field(None, ge=1, le=10_000_000, description="Maximum number of steps.")
    max_minutes: float | None = Field(
        None,
        gt=0,
        le=60 * 24 * 365,
        description="Maximum training time in minutes. With neither limit, the preset's limit applies.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same model on the same machine.")
    photo_checks: PhotoChecks = Field(
        PhotoChecks.leave_out,
        description="What becomes of photos whose findings have the severity `left_out`. `leave_out`: the training "
        "does not use them. `warn`: it uses them, and its log names them. `off`: photos are not checked.",
    )
    warm_start: Id | None = Field(
        None,
        description="Id of a model whose networks the training starts from, for example when photos were added. It "
        "must have the same scale and be trained with a preset that has the same networks.",
    )
    priority: Priority = PRIORITY
