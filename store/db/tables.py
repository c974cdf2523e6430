"""The tables. Times are seconds since 1970 by the database's clock, because the clocks of workers may differ."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, MetaData, String, Text, UniqueConstraint, false, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

ID = String(26)
SHA256 = String(64)
NULLABLE_JSON = JSON(none_as_null=True)


class now(FunctionElement[float]):  # noqa: N801 - named as the SQL function
    """The time of the database's clock, in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_on_sqlite(element: now, compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_on_postgresql(element: now, compiler: SQLCompiler, **_: Any) -> str:
    # now() is when the transaction began. A lease must start when it is written, so this is clock_timestamp().
    return "extract(epoch from clock_timestamp())::double precision"


class Table(DeclarativeBase):
    # Every constraint has a name, so that migrations can change it on both databases.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, float: Float(53)}  # noqa: RUF012 - SQLAlchemy reads it from the class


class Token(Table):
    """An API token. Revoked ones stay, because their records name them as owner.

    Its requests may ask for a priority of up to `max_priority`.
    """

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(String(8))
    max_priority: Mapped[int] = mapped_column(default=0, server_default="0")
    sha256: Mapped[str] = mapped_column(SHA256)
    created_at: Mapped[float] = mapped_column(insert_default=now())
    revoked_at: Mapped[float | None]


class Dataset(Table):
    """`owner` is the token that created it, None if no token was needed.

    `lr_images` and `hr_images` are counters, because there may be a million images.
    """

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str | None] = mapped_column(ID, index=True)
    shared: Mapped[bool] = mapped_column(default=False, server_default=false())
    name: Mapped[str] = mapped_column(Text)
    scale: Mapped[int]
    lr_images: Mapped[int] = mapped_column(default=0)
    hr_images: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Image(Table):
    """A photo of a dataset. Its `role` is lr for a real low-resolution photo and hr for a clean one.

    `compression` is what its file says (`FileCompression`), None if it says nothing or came before schema 0013.
    `findings` is a list of `Finding`, None if the photo was not checked yet. `perceptual_hash` is set when it is
    checked, and empty for a photo without contrast.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("dataset_id", "role", "sha256"),
        Index(None, "dataset_id", "role", "id"),
        Index(None, "dataset_id", "id"),
        Index(
            "ix_images_unchecked",
            "id",
            sqlite_where=text("findings IS NULL"),
            postgresql_where=text("findings IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(2))
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(SHA256)
    width: Mapped[int]
    height: Mapped[int]
    compression: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON)
    findings: Mapped[list[Any] | None] = mapped_column(NULLABLE_JSON)
    perceptual_hash: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Job(Table):
    """A job. This row is the source of truth; the queue only carries its id.

    `attempt` counts the claims of its shards, so a number names one claim. `parameters_version` says which workers can
    read `parameters`. `shard_items` is how many items the next claim should take, None before anything is measured.
    Results are kept for `retention_seconds` after the end, with None for ever, and were deleted at `expired_at`.
    """

    __tablename__ = "jobs"
    # Each filter of job lists has an index that ends in the id, which orders lists. No index has a column that changes
    # while a job runs, such as the lease.
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "kind", "id"),
        Index(None, "kind", "status", "id"),
        Index(None, "dataset_id", "id"),
        Index(None, "dataset_id", "kind", "id"),
        Index(None, "dataset_id", "status", "id"),
        Index(None, "updated_at"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default="queued")
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    model_id: Mapped[str | None] = mapped_column(ID)
    owner: Mapped[str | None] = mapped_column(ID)
    parameters: Mapped[dict[str, Any]]
    parameters_version: Mapped[int] = mapped_column(default=1, server_default="1")

    done: Mapped[int] = mapped_column(BigInteger, default=0)
    total: Mapped[int] = mapped_column(BigInteger, default=0)
    unit: Mapped[str] = mapped_column(String(16))
    per_second: Mapped[float | None]
    eta_seconds: Mapped[float | None]
    ok: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]

    priority: Mapped[int] = mapped_column(default=0, server_default="0")
    shard_items: Mapped[int | None]
    attempt: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    finish_requested: Mapped[bool] = mapped_column(default=False)  # of a training: end early and keep the model

    event_count: Mapped[int] = mapped_column(default=0)  # also the number of the latest event
    updated_at: Mapped[float] = mapped_column(insert_default=now(), onupdate=now())
    created_at: Mapped[float] = mapped_column(insert_default=now())
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    retention_seconds: Mapped[float | None]
    expired_at: Mapped[float | None]
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of its request (W3C Trace Context), if it was traced


class Shard(Table):
    """Work of a job that is not done: its items from `start` to before `stop`. A training is one shard.

    Its `status` is queued or running; stopped if the job ended before its items were listed. `attempt` names the
    claim that holds it and fences the writes of its worker. At `lease_until` that worker counts as dead, and
    `crash_count` counts those that died of it since its last progress. Until `reserved_until` a worker frees itself
    for it. `expansion` says which items are not listed yet (`Expansion`); its worker lists them.
    `queue`, `owner` and `priority` are those of the job, for the order of claims.
    """

    __tablename__ = "shards"
    __table_args__ = (Index(None, "queue", "status"), Index(None, "job_id"))

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    queue: Mapped[str] = mapped_column(String(8))
    owner: Mapped[str | None] = mapped_column(ID)
    priority: Mapped[int] = mapped_column(default=0)
    start: Mapped[int] = mapped_column(default=0)
    stop: Mapped[int]
    expansion: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON)
    status: Mapped[str] = mapped_column(String(8), default="queued")
    queued_at: Mapped[float] = mapped_column(insert_default=now())
    attempt: Mapped[int | None]
    worker: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[float | None]
    claimed_at: Mapped[float | None]
    progressed_at: Mapped[float | None]
    per_second: Mapped[float | None]
    crash_count: Mapped[int] = mapped_column(default=0)
    reserved_until: Mapped[float | None]


class Usage(Table):
    """What a token used within an hour: `hour` counts hours since 1970."""

    __tablename__ = "usages"

    owner: Mapped[str] = mapped_column(ID, primary_key=True)
    hour: Mapped[int] = mapped_column(primary_key=True)
    worker_seconds: Mapped[float] = mapped_column(default=0.0)
    received_bytes: Mapped[int] = mapped_column(BigInteger, default=0)


class Event(Table):
    """An event of a job: a `log` line, `metrics`, or a new `preview`. Numbered from 1."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Preview(Table):
    """The latest preview of a training. `files` maps file names to the SHA-256 of their blobs."""

    __tablename__ = "previews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int]
    files: Mapped[dict[str, Any]]


class Item(Table):
    """An input image of a degrade or sr job, or a crop of one: `crop` is top, left, height, width in pixels.

    An image that was rejected on arrival has a `code` and no blob.
    """

    __tablename__ = "items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    output_name: Mapped[str] = mapped_column(Text)  # unique within the job; results' file names start with it
    sha256: Mapped[str | None] = mapped_column(SHA256)
    crop: Mapped[list[Any] | None]
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)


class Sample(Table):
    """A finished sample. `files` maps kinds (lr, kernel, noise, sr) to the SHA-256 of their blobs.

    With a `shard`, the number of a `ResultShard`, it maps them to their places there: [start, size, CRC-32], in bytes.
    """

    __tablename__ = "samples"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    sample: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(8))
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    shard: Mapped[int | None]
    files: Mapped[dict[str, Any]]


class ResultShard(Table):
    """A tar of a job with `store=shards`: all files of `samples` finished samples. Its blob has `size` bytes."""

    __tablename__ = "result_shards"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # from 0, in the order of their ends
    sha256: Mapped[str] = mapped_column(SHA256)
    size: Mapped[int] = mapped_column(BigInteger)
    samples: Mapped[int]


class Model(Table):
    """A trained model. `files` maps file names to the SHA-256 of their blobs; `history` has the training curves."""

    __tablename__ = "models"
    __table_args__ = (Index(None, "dataset_id", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ID, unique=True)
    preset: Mapped[str] = mapped_column(Text)
    scale: Mapped[int]
    kernel_origin: Mapped[list[Any]]
    steps: Mapped[int]
    seconds: Mapped[float]
    files: Mapped[dict[str, Any]]
    history: Mapped[list[Any]]
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Checkpoint(Table):
    """A checkpoint of a training. A job keeps the newest two, because the disk may damage one."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    seconds: Mapped[float]
    sha256: Mapped[str] = mapped_column(SHA256)


class Deployment(Table):
    """The identity of this database and of the data folder that belongs to it: one row, see store/deployment.py."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(ID, primary_key=True)


class Blob(Table):
    """A blob of a bucket, recorded before it is stored. A folder's blobs have file times instead."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    put_at: Mapped[float] = mapped_column(index=True)


class Lease(Table):
    """A name that one process has until it expires: `holder` is that process, see store/leases.py."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    holder: Mapped[str] = mapped_column(ID)
    expires_at: Mapped[float]


class IdempotencyKey(Table):
    """A request with an `Idempotency-Key`: the key, a digest of the request, and the record that it created."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(SHA256)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float] = mapped_column(insert_default=now(), index=True)


class Upload(Table):
    """A resumable upload of a file: `received` of its `length` bytes are on disk.

    It is for a dataset, with a `role`, or is the part with the `number` of inputs.

    `upload_metadata` is the client's `Upload-Metadata` header, unchanged. A whole and validated upload has
    `completed_at` and a `result` or a `problem`. At `expires_at` it is deleted.
    """

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    inputs_id: Mapped[str | None] = mapped_column(ForeignKey("inputs.id", ondelete="CASCADE"), index=True)
    number: Mapped[int | None]
    owner: Mapped[str | None] = mapped_column(ID)
    role: Mapped[str | None] = mapped_column(String(2))
    name: Mapped[str] = mapped_column(Text)
    upload_metadata: Mapped[str] = mapped_column(Text)
    length: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    # Deferred: they are large for an archive of 100,000 images, and most queries need neither.
    result: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON, deferred=True)
    problem: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON, deferred=True)
    created_at: Mapped[float] = mapped_column(insert_default=now())
    completed_at: Mapped[float | None]
    expires_at: Mapped[float] = mapped_column(index=True)


class Inputs(Table):
    """Files for one job, sent in parts before the job. `key` is the client's. At `expires_at` they are deleted."""

    __tablename__ = "inputs"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str | None] = mapped_column(ID)
    key: Mapped[str | None] = mapped_column(String(255), index=True)
    created_at: Mapped[float] = mapped_column(insert_default=now())
    expires_at: Mapped[float] = mapped_column(index=True)


class InputPart(Table):
    """A part of inputs: a record of each of its `count` files, with a `sha256`, or with the `code` of a rejection."""

    __tablename__ = "input_parts"

    inputs_id: Mapped[str] = mapped_column(ForeignKey("inputs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str | None] = mapped_column(String(128))
    count: Mapped[int]
    files: Mapped[list[Any]]


class Webhook(Table):
    """A URL that is called when its owner's jobs end. `secret` signs the messages, so it is stored unhashed."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str | None] = mapped_column(ID, index=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Delivery(Table):
    """A message for a webhook. `next_attempt_at` is None when it was delivered or abandoned.

    `status` (HTTP) and `error` are those of the last attempt.
    """

    __tablename__ = "deliveries"
    __table_args__ = (Index(None, "webhook_id", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    job_id: Mapped[str] = mapped_column(ID)
    event: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[float | None] = mapped_column(index=True)
    delivered_at: Mapped[float | None]
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(insert_default=now(), index=True)
