"""A database with the first schema and a row in every table."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import text

from store.db.database import Database
from store.db.migrate import upgrade

JOB: dict[str, Any] = {
    "kind": "degrade",
    "status": "succeeded",
    "dataset_id": "d",
    "model_id": "m",
    "parameters": json.dumps({"samples": 1, "seed": 7, "format": "zip", "source": None}),
    "done": 1,
    "total": 1,
    "unit": "samples",
    "ok": 1,
    "failed": 0,
    "attempt": 1,
    "deaths": 0,
    "cancel_requested": False,
    "created": 1.0,
    "started": 2.0,
    "finished": 3.0,
}
TRAINING = JOB | {
    "kind": "train",
    "parameters": json.dumps({"preset": "default", "scale": 4}),
    "unit": "steps",
    "ok": 0,
}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("datasets", {"id": "d", "name": "photos", "scale": 4, "created": 0.0}),
    *(
        (
            "images",
            {
                "id": f"i{n}",
                "dataset_id": "d",
                "role": role,
                "name": f"{n}.png",
                "sha256": f"{n}" * 64,
                "width": 9,
                "height": 9,
                "created": 0.0,
            },
        )
        for n, role in enumerate(("lr", "lr", "hr"))
    ),
    ("jobs", JOB | {"id": "ended"}),
    ("jobs", JOB | {"id": "waiting", "status": "queued", "started": None, "finished": None, "done": 0, "ok": 0}),
    ("jobs", TRAINING | {"id": "training", "status": "failed"}),
    ("items", {"job_id": "ended", "position": 0, "name": "a.png", "stem": "a", "sha256": "a" * 64}),
    (
        "samples",
        {
            "job_id": "ended",
            "position": 0,
            "sample": 0,
            "status": "ok",
            "files": json.dumps({"lr": "b" * 64}),
        },
    ),
    (
        "models",
        {
            "id": "m",
            "dataset_id": "d",
            "job_id": "t",
            "preset": "default",
            "scale": 4,
            "kernel_origin": "[-8, -8]",
            "steps": 5,
            "seconds": 1.0,
            "files": json.dumps({"degrader.safetensors": "c" * 64}),
            "history": "[]",
            "created": 3.0,
        },
    ),
    ("checkpoints", {"job_id": "training", "step": 3, "seconds": 1.0, "sha256": "e" * 64}),
]


def make_first_schema(database: Database) -> None:
    with database.engine.begin() as connection:
        upgrade(connection, "0001")
        for table, row in ROWS:
            columns = ", ".join(row)
            values = ", ".join(f":{column}" for column in row)
            connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"), row)
