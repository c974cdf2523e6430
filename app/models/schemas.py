"""Model response schemas."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.http.schemas import Timestamp


class ModelRead(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "01jd3vqz0r6f8h2k4m6p8s0v2x",
                "dataset": "01jd3v9k5m8q2x7c4n6b1z0w5e",
                "job": "01jd3vb7c8d9e0f1g2h3j4k5m6",
                "preset": "default",
                "scale": 4,
                "kernel_origin": [-8, -8],
                "steps": 4000,
                "seconds": 600.2,
                "created": "2026-01-31T12:10:00Z",
                "links": {
                    "self": "/models/01jd3vqz0r6f8h2k4m6p8s0v2x",
                    "report": "/models/01jd3vqz0r6f8h2k4m6p8s0v2x/report",
                    "degrader.safetensors": "/models/01jd3vqz0r6f8h2k4m6p8s0v2x/files/degrader.safetensors",
                    "sr.safetensors": "/models/01jd3vqz0r6f8h2k4m6p8s0v2x/files/sr.safetensors",
                    "report.json": "/models/01jd3vqz0r6f8h2k4m6p8s0v2x/files/report.json",
                },
            }
        }
    )

    id: str
    dataset: str
    job: str = Field(description="Id of the training job.")
    preset: str
    scale: int
    kernel_origin: list[int] = Field(
        min_length=2, max_length=2, description="(top, left) of a kernel, relative to high-resolution pixel (s·i, s·j)."
    )
    steps: int
    seconds: float = Field(description="Training time.")
    created: Timestamp
    links: dict[str, str]


class ModelDetailRead(ModelRead):
    history: list[dict[str, float]] = Field(description="Training curves: metrics by step.")
