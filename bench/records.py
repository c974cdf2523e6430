"""Fills a database within seconds with as many records as a service has after years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Integer, String, case, cast, insert, literal, select, text, type_coerce
from sqlalchemy.orm import Session

from store.db.database import Database
from store.db.migrate import migrate
from store.db.tables import Dataset, Image, Item, Job, Sample

DATASETS = 100
SAMPLES_PER_ITEM = 100
RARE = 10  # the oldest jobs are failed trainings, all others are succeeded degrade jobs


@dataclass(frozen=True)
class Size:
    jobs: int
    images: int
    samples: int


def format_id(kind: str, number: int) -> str:
    """Returns an id that sorts like its number."""
    return f"{kind}{100_000_000 + number}"


def fill(url: str, size: Size) -> None:
    """Inserts the rows with statements that generate them inside the database."""
    database = Database(url)
    migrate(database)
    items = size.samples // SAMPLES_PER_ITEM
    with database.write() as session:
        _insert(session, Dataset, DATASETS, lambda n: {"id": _id("set", n), "name": "photos", "scale": 4})
        session.execute(
            text("UPDATE datasets SET lr_images = :lr, hr_images = :hr WHERE id = :id"),
            {"lr": size.images // 10, "hr": size.images - size.images // 10, "id": format_id("set", 0)},
        )
        _insert(session, Image, size.images, _image)
        _insert(session, Job, size.jobs, _job)
        last_job = format_id("job", size.jobs - 1)
        _insert(
            session, Item, items, lambda n: _numbered(last_job, n) | {"name": "a.png", "output_name": cast(n, String)}
        )
        _insert(session, Sample, size.samples, lambda n: _sample(last_job, n))
    if database.engine.dialect.name == "postgresql":  # as autovacuum would do later
        with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
    database.close()


def _image(n: ColumnElement[int]) -> dict[str, Any]:
    return {
        "id": _id("img", n),
        "dataset_id": format_id("set", 0),
        "role": case((n % 10 == 0, "lr"), else_="hr"),
        "name": "a.png",
        "sha256": _id("sha", n),
        "width": 640,
        "height": 480,
    }


def _job(n: ColumnElement[int]) -> dict[str, Any]:
    return {
        "id": _id("job", n),
        "kind": case((n < RARE, "train"), else_="degrade"),
        "status": case((n < RARE, "failed"), else_="succeeded"),
        "dataset_id": case((n % 2 == 0, format_id("set", 0)), else_=_id("set", n % DATASETS)),
        "parameters": _json({"samples": 4, "seed": 7}),
        "unit": "samples",
        **dict.fromkeys(("done", "total", "ok"), 4),
        **dict.fromkeys(("failed", "attempt", "priority"), 0),
        "cancel_requested": literal(False),
    }


def _item(job: str, n: ColumnElement[int]) -> dict[str, Any]:
    return _numbered(job, n) | {"name": "a.png", "output_name": cast(n, String)}


def _sample(job: str, n: ColumnElement[int]) -> dict[str, Any]:
    files = dict.fromkeys(("lr", "kernel", "noise"), 16 * "0123")
    numbered = _numbered(job, n // SAMPLES_PER_ITEM)
    return numbered | {"sample": n % SAMPLES_PER_ITEM, "status": "ok", "files": _json(files)}


def _numbered(job: str, position: ColumnElement[int]) -> dict[str, Any]:
    return {"job_id": job, "position": position}


def _json(value: dict[str, Any]) -> ColumnElement[Any]:
    return literal(value, JSON)


def _id(kind: str, n: ColumnElement[int]) -> ColumnElement[str]:
    return type_coerce(kind, String) + cast(100_000_000 + n, String)


def _insert(session: Session, table: Any, rows: int, row: Callable[[ColumnElement[int]], dict[str, Any]]) -> None:
    numbers = select(literal(0, Integer).label("n")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < rows - 1))
    values = row(numbers.c.n)
    if "created_at" in table.__table__.columns:
        values["created_at"] = 0.0
    columns = [value if isinstance(value, ColumnElement) else literal(value) for value in values.values()]
    session.execute(
        insert(table).from_select(list(values), select(*columns).select_from(numbers), include_defaults=False)
    )
