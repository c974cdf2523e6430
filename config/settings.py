"""Everything that can be set, in one place; each field is an environment variable with the prefix `PATINA_`."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MEBIBYTE = 2**20


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PATINA_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local" / "share" / "patina",
        description="Folder that holds everything that lasts: blobs, the SQLite database, the embedded Valkey's file.",
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the records, such as postgresql+psycopg://user:password@host/name. "
        "Unset: SQLite in the data folder.",
    )
    redis_url: str | None = Field(
        None,
        description="URL of a Redis or Valkey for the queue (redis:// or unix://). Unset: `patina up` starts its own.",
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on.")

    device: str | None = Field(None, description="Torch device of the workers. Unset: cuda if there is one, else cpu.")
    torch_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="CPU threads of each worker process."
    )

    lease_seconds: float = Field(
        15, gt=0, description="A running job whose worker has not been heard of for so long is given to another."
    )
    reap_every_seconds: float = Field(2, gt=0, description="Pause between two rounds of the reaper.")
    max_attempts: int = Field(
        20, ge=1, description="A job whose workers died so often without finishing it is failed, not tried again."
    )
    cancel_grace_seconds: float = Field(
        3, gt=0, description="A canceled job that has not stopped by itself after so long is ended with its worker."
    )
    checkpoint_every_seconds: float = Field(30, gt=0, description="Pause between two checkpoints of a training.")
    unreferenced_blob_seconds: float = Field(
        3600, gt=0, description="A blob that no record refers to is deleted when it is older than this."
    )

    max_file_bytes: int = Field(512 * MEBIBYTE, gt=0, description="Largest image file accepted.")
    max_upload_bytes: int = Field(
        16 * 1024 * MEBIBYTE, gt=0, description="Largest request body accepted, archives included."
    )
    max_archive_bytes: int = Field(
        64 * 1024 * MEBIBYTE, gt=0, description="Largest sum of the unpacked members of one archive."
    )
    max_archive_members: int = Field(100_000, gt=0, description="Most members of one archive.")
    max_image_pixels: int = Field(100_000_000, gt=0, description="Largest image accepted, in pixels.")
    max_samples: int = Field(1000, gt=0, description="Most samples that one degrade job draws for each image.")

    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")
    log_json: bool | None = Field(None, description="JSON log lines. Unset: JSON unless standard error is a terminal.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @property
    def database(self) -> str:
        """SQLAlchemy URL that is used, with the embedded default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'patina.sqlite'}"

    @property
    def embedded_socket(self) -> Path:
        """Unix socket of the embedded Valkey: short and private whatever the data folder's path (limit 107 bytes)."""
        name = hashlib.sha256(bytes(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"patina-{os.getuid()}-{name}" / "valkey.sock"

    @property
    def redis(self) -> str:
        """URL of the queue that is used, with the embedded default filled in."""
        return self.redis_url or f"unix://{self.embedded_socket}"


@cache
def settings() -> Settings:
    """The settings of this process, read from its environment once."""
    return Settings()
