"""Blobs that change on disk after they were written: what was sent with a job, what it made, a checkpoint."""

from __future__ import annotations

import os
import random

from sqlalchemy import select

from bench.chaos.service import Service
from store.db.database import Session
from store.db.tables import Checkpoint, Image, Item, Job, Sample
from store.errors import DatabaseUnavailable

RECENT = 6  # jobs that are looked at: what was long finished is seldom read again


def damage_a_blob(service: Service, chance: random.Random, damaged_before: set[str]) -> str | None:
    """Flips one of its bits or cuts its end off; gives its SHA-256, None where there is none.

    Photos of datasets are left alone, for what is trained on them would be another network.
    """
    store = service.store()
    try:
        with store.database.read() as session:
            candidates = sorted(_candidates(session, chance) - damaged_before)
    except DatabaseUnavailable:
        return None
    finally:
        store.close()
    chance.shuffle(candidates)
    for sha256 in candidates:
        path = store.blobs.path(sha256)
        try:
            with path.open("r+b") as opened:
                size = opened.seek(0, os.SEEK_END)
                if chance.random() < 0.5:
                    opened.truncate(chance.randrange(size))
                else:
                    opened.seek(chance.randrange(size))
                    byte = opened.read(1)[0]
                    opened.seek(-1, os.SEEK_CUR)
                    opened.write(bytes([byte ^ 1 << chance.randrange(8)]))
        except OSError:  # collected meanwhile, or the disk is full
            continue
        return sha256
    return None


def _candidates(session: Session, chance: random.Random) -> set[str]:
    jobs = select(Job.id).order_by(Job.id.desc()).limit(RECENT)
    of = chance.choice(("inputs", "results", "checkpoints"))
    if of == "inputs":
        found = set(session.scalars(select(Item.sha256).where(Item.job_id.in_(jobs))))
        return {sha256 for sha256 in found if sha256} - set(session.scalars(select(Image.sha256)))
    if of == "results":
        files = session.scalars(select(Sample.files).where(Sample.job_id.in_(jobs)))
        return {str(sha256) for named in files for sha256 in named.values()}
    running = select(Job.id).where(Job.status == "running")
    return set(session.scalars(select(Checkpoint.sha256).where(Checkpoint.job_id.in_(running))))
