"""Everything that can be set, in one place; each field is an environment variable with the prefix `PATINA_`."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

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
    database_password_file: Path | None = Field(
        None, description="File with the password that PATINA_DATABASE_URL then does not hold, such as a secret."
    )
    redis_password_file: Path | None = Field(None, description="The same for PATINA_REDIS_URL.")
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on.")
    require_tokens: bool | None = Field(
        None,
        description="Whether calls need a token. Unset: only when the API listens beyond this computer, which it does "
        "not do without.",
    )
    allowed_hosts: str = Field(
        "",
        description="Names, separated by commas, under which an API without tokens may be called besides this "
        "computer's own, such as that of a gateway in front of it.",
    )
    token_requests_per_minute: int = Field(
        6000, gt=0, description="Most calls with one token, where tokens are needed."
    )
    address_requests_per_minute: int = Field(
        12_000, gt=0, description="Most calls from one address, refused ones too, where tokens are needed."
    )

    device: str | None = Field(None, description="Torch device of the workers. Unset: cuda if there is one, else cpu.")
    torch_threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, description="CPU threads of each worker process."
    )

    lease_seconds: float = Field(
        15, gt=0, description="A running job whose worker has not been heard of for so long is given to another."
    )
    reap_every_seconds: float = Field(2, gt=0, description="Pause between two rounds of the reaper.")
    max_attempts: int = Field(
        20,
        ge=1,
        description="A job whose workers died so often without getting any further is failed, not tried again.",
    )
    cancel_grace_seconds: float = Field(
        3, gt=0, description="A canceled job that has not stopped by itself after so long is ended with its worker."
    )
    checkpoint_every_seconds: float = Field(30, gt=0, description="Pause between two checkpoints of a training.")
    unreferenced_blob_seconds: float = Field(
        3600, gt=0, description="A blob that no record refers to is deleted when it is older than this."
    )

    result_days: float = Field(
        30,
        gt=0,
        description="What a job has made, and was sent, is deleted so many days after it ended; what trainings made "
        "stays. Counts for jobs accepted from then on. inf: never.",
    )
    idempotency_key_seconds: float = Field(
        86_400,
        gt=0,
        description="A request that is sent again with its Idempotency-Key within this time makes nothing new.",
    )

    webhooks: bool = Field(
        False, description="Whether the service calls URLs that are registered with it, when jobs end."
    )
    webhook_private_addresses: bool = Field(
        False,
        description="Whether such a URL may lead to private addresses, of this computer and of its networks. What "
        "listens there would be open to everybody who may register one.",
    )
    webhook_timeout_seconds: float = Field(15, gt=0, description="Time that a call to a webhook may take.")
    webhook_retry_seconds: float = Field(
        5,
        gt=0,
        description="Pause before a call that failed is tried again; each further one is four times as long, at most "
        "six hours. The eleventh call is the last.",
    )
    upload_hours: float = Field(
        24,
        gt=0,
        description="A resumable upload that nobody goes on with is deleted after so many hours, and what became of a "
        "finished one is told for so long.",
    )

    max_file_bytes: int = Field(512 * MEBIBYTE, gt=0, description="Largest image file accepted.")
    max_upload_bytes: int = Field(
        16 * 1024 * MEBIBYTE,
        gt=0,
        description="Largest request body accepted, archives included, and largest file that is sent in parts.",
    )
    max_json_bytes: int = Field(MEBIBYTE, gt=0, description="Largest JSON body accepted.")
    max_files: int = Field(
        100_000, gt=0, description="Most files in one request, the members of its archives counted with them."
    )
    max_archive_bytes: int = Field(
        64 * 1024 * MEBIBYTE, gt=0, description="Largest sum of the unpacked members of a request's archives."
    )
    max_archive_members: int = Field(100_000, gt=0, description="Most members of one archive.")
    max_image_pixels: int = Field(100_000_000, gt=0, description="Largest image accepted, in pixels.")
    decode_seconds: float = Field(30, gt=0, description="Most CPU seconds that decoding one image may take.")
    max_queued_jobs: int = Field(10_000, gt=0, description="Most jobs that may wait; further ones are refused.")
    max_storage_bytes: int | None = Field(
        None, gt=0, description="Most bytes that all blobs may take together. Unset: what the disk holds."
    )
    min_free_bytes: int = Field(
        256 * MEBIBYTE, ge=0, description="What would leave less of the disk free than this is refused."
    )
    max_items: int = Field(
        500_000, gt=0, description="Most images, or squares that are cut out of them, that one degrade job works on."
    )
    max_samples: int = Field(1000, gt=0, description="Most samples that one degrade job draws for each image.")

    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")
    log_json: bool | None = Field(None, description="JSON log lines. Unset: JSON unless standard error is a terminal.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @property
    def on_loopback(self) -> bool:
        """Whether the API can only be reached from this computer."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def tokens_needed(self) -> bool:
        return not self.on_loopback if self.require_tokens is None else self.require_tokens

    @property
    def result_seconds(self) -> float | None:
        """How long results are kept; None for ever."""
        return self.result_days * 86_400 if math.isfinite(self.result_days) else None

    @property
    def upload_seconds(self) -> float:
        return self.upload_hours * 3600

    @property
    def database(self) -> str:
        """SQLAlchemy URL that is used, with the embedded default filled in."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'patina.sqlite'}"
        return _with_password(self.database_url, self.database_password_file)

    @property
    def embedded_socket(self) -> Path:
        """Unix socket of the embedded Valkey: short and private whatever the data folder's path (limit 107 bytes)."""
        name = hashlib.sha256(bytes(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"patina-{os.getuid()}-{name}" / "valkey.sock"

    @property
    def redis(self) -> str:
        """URL of the queue that is used, with the embedded default filled in."""
        if self.redis_url is None:
            return f"unix://{self.embedded_socket}"
        return _with_password(self.redis_url, self.redis_password_file)


def _with_password(url: str, file: Path | None) -> str:
    if file is None:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    password = quote(file.read_text().strip(), safe="")
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


@cache
def settings() -> Settings:
    """The settings of this process, read from its environment once."""
    return Settings()
