"""The tables. Times are seconds since 1970 by the database's clock, so that workers need not agree on one."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, MetaData, String, Text, UniqueConstraint, false
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

ID = String(26)
SHA256 = String(64)
NULLABLE_JSON = JSON(none_as_null=True)


class now(FunctionElement[float]):  # noqa: N801 - reads as the SQL function that it is
    """The database's own clock, in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_on_sqlite(element: now, compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_on_postgresql(element: now, compiler: SQLCompiler, **_: Any) -> str:
    # clock_timestamp moves during a transaction, now() does not: a lease must run from when it is written.
    return "extract(epoch from clock_timestamp())::double precision"


class Table(DeclarativeBase):
    # Names for every constraint, so that migrations can speak of them on both databases.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, float: Float(53)}  # noqa: RUF012 - SQLAlchemy's own form


class Token(Table):
    """A key to the API; revoked ones stay, for what they own names them."""

    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    scope: Mapped[str] = mapped_column(String(8))
    sha256: Mapped[str] = mapped_column(SHA256)
    created_at: Mapped[float] = mapped_column(insert_default=now())
    revoked_at: Mapped[float | None]


class Dataset(Table):
    """`owner` is the token that made it, None where none was asked for.

    `lr_images` and `hr_images` are counted when images are added: there may be a million of them.
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
    """A photo of a dataset: `role` lr for a real low-resolution one, hr for a clean one."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("dataset_id", "role", "sha256"),
        Index(None, "dataset_id", "role", "id"),
        Index(None, "dataset_id", "id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(String(2))
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(SHA256)
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Job(Table):
    """A piece of work. The row is the truth; the queue only carries its id.

    `attempt` counts the workers that took it and fences their writes; `lease_until` is when the present one counts as
    dead; `deaths` counts those that died of it. `form` is the version of `parameters`, which older workers cannot read.
    `keep_seconds` is how long its results are kept after its end, None for ever; `expired` is when they were deleted.
    """

    __tablename__ = "jobs"
    # Each way of listing jobs has an index that ends in the id, the order of lists. None holds what changes while a job
    # runs, such as its lease.
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

    attempt: Mapped[int] = mapped_column(default=0)
    crash_count: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(Text)
    lease_until: Mapped[float | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    finish_requested: Mapped[bool] = mapped_column(default=False)  # of a training: to end now with what it has learned

    event_count: Mapped[int] = mapped_column(default=0)  # so many have been recorded; the number of the latest
    updated_at: Mapped[float] = mapped_column(insert_default=now(), onupdate=now())
    created_at: Mapped[float] = mapped_column(insert_default=now())
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    retention_seconds: Mapped[float | None]
    expired_at: Mapped[float | None]


class Event(Table):
    """Something that happened in a job: a `log` line, the `metrics` of a moment, a new `preview`. Numbered from 1."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Preview(Table):
    """What a training makes by now; one a job, the latest. `files` maps file names to the SHA-256 of their blobs."""

    __tablename__ = "previews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int]
    files: Mapped[dict[str, Any]]


class Item(Table):
    """An image that a degrade or sr job works on, or a part of it: `crop` is top, left, height, width.

    One that was refused on arrival has a `code` and no blob.
    """

    __tablename__ = "items"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    output_name: Mapped[str] = mapped_column(Text)  # unique within the job: the start of its results' file names
    sha256: Mapped[str | None] = mapped_column(SHA256)
    crop: Mapped[list[Any] | None]
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)


class Sample(Table):
    """A finished result: `files` maps what it is (lr, kernel, noise, sr) to the SHA-256 of its blob."""

    __tablename__ = "samples"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    sample: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(String(8))
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    files: Mapped[dict[str, Any]]


class Model(Table):
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
    """The states that a training can go on from: a job's newest two, for the disk may damage one."""

    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    seconds: Mapped[float]
    sha256: Mapped[str] = mapped_column(SHA256)


class IdempotencyKey(Table):
    """A request that carried an `Idempotency-Key`: digests of that and of what it asked for, and the record it made."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(SHA256)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float] = mapped_column(insert_default=now(), index=True)


class Upload(Table):
    """A file for a dataset that comes in as many requests as it takes: `received` of `length` bytes are on disk.

    `description` is what the client said of it, as it said it. When all has come and was looked at it is `concluded`,
    with a `result` or a `problem`; at `expires` it is forgotten.
    """

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    owner: Mapped[str | None] = mapped_column(ID)
    role: Mapped[str] = mapped_column(String(2))
    name: Mapped[str] = mapped_column(Text)
    upload_metadata: Mapped[str] = mapped_column(Text)
    length: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    # Of an archive of 100,000 images they are large, and most requests do not ask for them.
    result: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON, deferred=True)
    problem: Mapped[dict[str, Any] | None] = mapped_column(NULLABLE_JSON, deferred=True)
    created_at: Mapped[float] = mapped_column(insert_default=now())
    completed_at: Mapped[float | None]
    expires_at: Mapped[float] = mapped_column(index=True)


class Webhook(Table):
    """A URL that is told of the ends of its owner's jobs. Messages are signed with `secret`, so it is kept as it is."""

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str | None] = mapped_column(ID, index=True)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    secret: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float] = mapped_column(insert_default=now())


class Delivery(Table):
    """A message for a webhook. `due` is when it is to be sent (again), None when it was taken or given up.

    `status` and `error` are those of the last attempt.
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
