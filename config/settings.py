"""All settings. Each field is an environment variable with the prefix `PATINA_`."""

from __future__ import annotations

import hashlib
import math
import os
import re
import tempfile
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.cpus import usable_cpus

MEBIBYTE = 2**20
OPEN_REQUEST_SECONDS = 5  # that an API gives to open requests at its end, after PATINA_DRAIN_SECONDS


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PATINA_", frozen=True, extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: Path.home() / ".local" / "share" / "patina",
        description="Folder of all persistent data: blobs, the SQLite database, the embedded Valkey's file.",
    )
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the database, such as postgresql+psycopg://user:password@host/name. Unset: "
        "SQLite in the data folder.",
    )
    redis_url: str | None = Field(
        None,
        description="URL of a Redis or Valkey for the queue (redis:// or unix://). Unset: `patina up` starts its own.",
    )
    database_password_file: Path | None = Field(
        None, description="File with the password for PATINA_DATABASE_URL, such as a Docker secret."
    )
    redis_password_file: Path | None = Field(None, description="File with the password for PATINA_REDIS_URL.")
    blobs_url: str | None = Field(
        None,
        pattern=r"^(s3|gs|az)://[^/]+(/.*)?$",
        description="Bucket of all stored files, such as s3://bucket/prefix (or gs://, az://). Credentials and "
        "endpoint come from the provider's variables, such as AWS_ACCESS_KEY_ID. Unset: the data folder.",
    )
    scratch_dir: Path | None = Field(
        None,
        description="With a bucket: folder on a local disk for unfinished files and for copies of stored files. "
        "Unset: the data folder, which then is local, too.",
    )
    scratch_bytes: int = Field(
        10 * 1024 * MEBIBYTE,
        gt=0,
        description="With a bucket: maximum size of the copies of stored files in the scratch folder.",
    )
    database_connections: int = Field(
        40,
        ge=2,
        description="Maximum connections of each process to the database. A request that finds none free waits.",
    )
    host: str = Field("127.0.0.1", description="Address that the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the API listens on.")
    require_tokens: bool | None = Field(
        None,
        description="Whether calls need a token. Unset: only if the API listens beyond this computer. It never does "
        "so without tokens.",
    )
    allowed_hosts: str = Field(
        "",
        description="Additional host names, separated by commas, under which an API without tokens may be called, "
        "such as the name of a gateway.",
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path below which a reverse proxy serves the service, such as /patina for https://host/patina/. "
        "Whether the proxy removes it from requests does not matter.",
    )
    cors_origins: str = Field(
        "",
        description="Origins of browser apps that may call the API, separated by commas, such as "
        "https://app.example.com. They send a token if tokens are required, never a cookie.",
    )
    token_requests_per_minute: int = Field(
        6000, gt=0, description="Maximum calls with one token, if tokens are required."
    )
    address_requests_per_minute: int = Field(
        12_000, gt=0, description="Maximum calls from one address, rejected ones included, if tokens are required."
    )

    device: str | None = Field(None, description="Torch device of the workers. Unset: cuda if available, else cpu.")
    torch_threads: int = Field(default_factory=usable_cpus, ge=1, description="CPU threads of each worker process.")
    workers_per_gpu: int = Field(
        1,
        ge=1,
        description="Worker processes that `patina up` and `patina worker --devices all` start for each GPU.",
    )
    train_processes: int = Field(
        1,
        ge=1,
        description="Maximum processes of a training, one for each GPU. Each has batches of the preset's size. With "
        "PATINA_DEVICE=cpu it is their exact number.",
    )

    lease_seconds: float = Field(
        15,
        gt=0,
        description="A running job goes to another worker after this time without a sign of life from its own.",
    )
    reap_every_seconds: float = Field(2, gt=0, description="Pause between two cycles of maintenance.")
    max_attempts: int = Field(
        20,
        ge=1,
        description="Maximum worker crashes of a job without progress; then it fails.",
    )
    cancel_grace_seconds: float = Field(
        3,
        gt=0,
        description="Time that a canceled job has to stop; then its worker process is killed and restarted. A "
        "training has half of it to save a checkpoint.",
    )
    shutdown_grace_seconds: float = Field(
        10, gt=0, description="Time that a training has to save a checkpoint when its worker stops (SIGTERM)."
    )
    drain_seconds: float = Field(
        0,
        ge=0,
        description="Time between SIGTERM to the API and its end, in which it still answers and `GET /ready` is 503, "
        "so that a load balancer stops sending requests to it.",
    )
    stall_seconds: float = Field(
        3600,
        gt=0,
        description="A running job without progress for this time fails, and its worker is restarted. inf: never.",
    )
    checkpoint_every_seconds: float = Field(30, gt=0, description="Pause between two checkpoints of a training.")
    unreferenced_blob_seconds: float = Field(
        3600, gt=0, description="A blob that no record names is deleted at this age."
    )

    result_days: float = Field(
        30,
        gt=0,
        description="A job's results and inputs are deleted this many days after its end; models stay. Applies to "
        "jobs accepted from then on. inf: never.",
    )
    idempotency_key_seconds: float = Field(
        86_400,
        gt=0,
        description="How long a repeated request with the same Idempotency-Key creates nothing new.",
    )

    webhooks: bool = Field(False, description="Whether the service calls registered URLs when jobs end.")
    webhook_private_addresses: bool = Field(
        False,
        description="Whether webhooks may lead to private addresses, of this computer and its networks. Everybody who "
        "may register a webhook could then reach what listens there.",
    )
    webhook_timeout_seconds: float = Field(15, gt=0, description="Maximum time of a call to a webhook.")
    webhook_retry_seconds: float = Field(
        5,
        gt=0,
        description="Pause before a failed call is retried. It grows fourfold with each retry, up to six hours. The "
        "eleventh call is the last.",
    )
    upload_hours: float = Field(
        24,
        gt=0,
        description="A resumable upload is deleted after this time without activity. The outcome of a finished one "
        "can be read for as long.",
    )

    max_file_bytes: int = Field(512 * MEBIBYTE, gt=0, description="Maximum size of an image file.")
    max_upload_bytes: int = Field(
        16 * 1024 * MEBIBYTE,
        gt=0,
        description="Maximum size of a request body, archives included, and of a resumable upload.",
    )
    max_json_bytes: int = Field(MEBIBYTE, gt=0, description="Maximum size of a JSON body.")
    max_files: int = Field(100_000, gt=0, description="Maximum files in one request, members of archives included.")
    max_archive_bytes: int = Field(
        64 * 1024 * MEBIBYTE, gt=0, description="Maximum size of all unpacked members of a request's archives."
    )
    max_archive_members: int = Field(100_000, gt=0, description="Maximum members of one archive.")
    max_image_pixels: int = Field(250_000_000, gt=0, description="Maximum pixels of an image.")
    decode_seconds: float = Field(30, gt=0, description="Maximum CPU seconds to decode one image.")
    max_queued_jobs: int = Field(10_000, gt=0, description="Maximum queued jobs; more are rejected.")
    max_storage_bytes: int | None = Field(
        None, gt=0, description="Maximum size of all blobs and unfinished uploads. Unset: the disk's size."
    )
    min_free_bytes: int = Field(256 * MEBIBYTE, ge=0, description="Minimum free space to leave on the disk.")
    max_items: int = Field(500_000, gt=0, description="Maximum images, or crops of them, of one degrade job.")
    max_samples: int = Field(1000, gt=0, description="Maximum samples of each image in one degrade job.")

    traces: bool = Field(
        False,
        description="Whether to send OpenTelemetry traces, which needs the extra otel. Where to is in the OTEL_ "
        "variables, such as OTEL_EXPORTER_OTLP_ENDPOINT.",
    )
    token_max_queued_jobs: int | None = Field(
        None, gt=0, description="Maximum queued jobs of one token; more are rejected. Unset: no limit."
    )
    token_max_running: int | None = Field(
        None,
        gt=0,
        description="Maximum workers of one kind that work for one token at a time; its other jobs wait. Unset: no "
        "limit.",
    )
    token_bytes_per_day: int | None = Field(
        None, gt=0, description="Maximum bytes that one token may send within 24 hours. Unset: no limit."
    )
    token_worker_seconds_per_day: float | None = Field(
        None,
        gt=0,
        description="Maximum seconds that workers (on a computer with GPUs: one GPU each) spend on jobs of one token "
        "within 24 hours. Beyond it, new jobs are rejected, and those that wait go on later. Unset: no limit.",
    )

    log_level: str = Field("INFO", description="Lowest level that is logged: DEBUG, INFO, WARNING or ERROR.")
    log_json: bool | None = Field(None, description="JSON log lines. Unset: JSON unless standard error is a terminal.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @field_validator("root_path", mode="before")
    @classmethod
    def _without_slash(cls, path: str) -> str:
        return path.rstrip("/") if isinstance(path, str) else path

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: str) -> str:
        for origin in _split_commas(origins):
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError(f"{origin!r} is no origin; expected one such as https://app.example.com")
        return origins

    @property
    def allowed_origins(self) -> list[str]:
        """The origins in `cors_origins`."""
        return _split_commas(self.cors_origins)

    @property
    def on_loopback(self) -> bool:
        """Whether only this computer can reach the API."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def tokens_needed(self) -> bool:
        return not self.on_loopback if self.require_tokens is None else self.require_tokens

    @property
    def result_seconds(self) -> float | None:
        """How long results are kept in seconds; None is for ever."""
        return self.result_days * 86_400 if math.isfinite(self.result_days) else None

    @property
    def upload_seconds(self) -> float:
        return self.upload_hours * 3600

    @property
    def database(self) -> str:
        """The SQLAlchemy URL, with the default filled in."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir / 'patina.sqlite'}"
        return _with_password(self.database_url, self.database_password_file)

    @property
    def embedded_socket(self) -> Path:
        """Unix socket of the embedded Valkey. Its path is private, and shorter than the limit of 107 bytes."""
        name = hashlib.sha256(bytes(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"patina-{os.getuid()}-{name}" / "valkey.sock"

    @property
    def redis(self) -> str:
        """The queue's URL, with the default filled in."""
        if self.redis_url is None:
            return f"unix://{self.embedded_socket}"
        return _with_password(self.redis_url, self.redis_password_file)


def _split_commas(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _with_password(url: str, file: Path | None) -> str:
    if file is None:
        return url
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    password = quote(file.read_text().strip(), safe="")
    return parts._replace(netloc=f"{user}:{password}@{host}").geturl()


@cache
def settings() -> Settings:
    """Returns the settings of this process, read from its environment once."""
    return Settings()
