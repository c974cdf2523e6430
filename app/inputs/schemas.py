"""Schemas of inputs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.http.schemas import RejectedFile, Timestamp


class InputsCreate(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"key": "0001.png-0800.png"}})

    key: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]+$",
        description="Any text of yours. A repeated request with the same key returns the same inputs, with the parts "
        "that have arrived, until a job has taken them.",
    )


class InputPart(BaseModel):
    number: int
    digest: str | None = Field(description="As it was given with the part.")
    files: int = Field(description="Images and rejected files, members of archives included.")


class InputsRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01jd3vf5g6h7j8k9m0n1p2q3r4",
                "parts": [{"number": 0, "digest": None, "files": 32}],
                "files": 32,
                "created": "2026-01-31T12:00:00Z",
                "expires": "2026-02-01T12:00:05Z",
            }
        }
    )

    id: str
    parts: list[InputPart]
    files: int = Field(description="Files of all parts.")
    created: Timestamp
    expires: Timestamp = Field(description="When the inputs are deleted, unless another part arrives or a job starts.")


class PartRead(InputPart):
    rejected: list[RejectedFile] = Field(description="Files that will be failed items of the job.")
