"""Upload response schemas."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from app.datasets.schemas import ImageUploadResponse, Role
from app.http.problems import ProblemDetails
from app.http.schemas import Timestamp
from app.inputs.schemas import PartRead


class UploadStatus(StrEnum):
    receiving = "receiving"
    accepted = "accepted"
    rejected = "rejected"


class UploadRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01jd3vd2e3f4g5h6j7k8m9n0p1",
                "dataset": "01jd3v9k5m8q2x7c4n6b1z0w5e",
                "role": "hr",
                "inputs": None,
                "number": None,
                "name": "photos.zip",
                "status": "receiving",
                "length": 7516192768,
                "received": 1073741824,
                "result": None,
                "part": None,
                "problem": None,
                "created": "2026-01-31T12:00:00Z",
                "expires": "2026-02-01T12:34:56Z",
            }
        }
    )

    id: str
    dataset: str | None
    role: Role | None
    inputs: str | None = Field(description="Of a part of inputs: their id, instead of a dataset and a role.")
    number: int | None = Field(description="Number of that part.")
    name: str
    status: UploadStatus = Field(
        description="`accepted`: the image, or at least one of an archive's images, is in the dataset or the inputs."
    )
    length: int = Field(description="Size of the file in bytes.")
    received: int = Field(description="Bytes that were received and are on disk.")
    result: ImageUploadResponse | None = Field(
        description="The response that `POST /datasets/{id}/images` would have given."
    )
    part: PartRead | None = Field(description="The response that `PUT /inputs/{id}/parts/{number}` would have given.")
    problem: ProblemDetails | None = Field(description="Why the whole file was rejected, as that call would report it.")
    created: Timestamp
    expires: Timestamp = Field(description="When the upload is deleted, unless more of it arrives.")
