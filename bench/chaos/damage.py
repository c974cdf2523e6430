"""Damages blobs on disk after they were written: inputs of jobs, their results, checkpoints."""

from __future__ import annotations

import os
import random

from sqlalchemy import select

from bench.services.service import Service
from store.db.database import Session
from store.db.tables import Checkpoint, Image, Item, Job, Sample
from store.errors import DatabaseUnavailable

RECENT_JOBS = 6  # blobs of older jobs are rarely read again


def damage_blob(service: Service, rng: random.Random, already_damaged: set[str]) -> str | None:
    """Flips one bit of a random blob or truncates it. Returns its SHA-256, or None if there is no candidate.

    Photos of datasets are excluded, because a training on damaged photos yields another network.
    """
    store = service.open_store()
    try:
        with store.database.read() as session:
            candidates = sorted(_candidates(session, rng) - already_damaged)
    except DatabaseUnavailable:
        return None
    finally:
        store.close()
    rng.shuffle(candidates)
    for sha256 in candidates:
        path = store.blobs.path(sha256)
        try:
            with path.open("r+b") as opened:
                size = opened.seek(0, os.SEEK_END)
                if rng.random() < 0.5:
                    opened.truncate(rng.randrange(size))
                else:
                    opened.seek(rng.randrange(size))
                    byte = opened.read(1)[0]
                    opened.seek(-1, os.SEEK_CUR)
                    opened.write(bytes([byte ^ 1 << rng.randrange(8)]))
        except OSError:  # the blob was deleted meanwhile, or the disk is full
            continue
        return sha256
    return None


def _candidates(session: Session, rng: random.Random) -> set[str]:
    jobs = select(Job.id).order_by(Job.id.desc()).limit(RECENT_JOBS)
    kind = rng.choice(("inputs", "results", "checkpoints"))
    if kind == "inputs":
        found = set(session.scalars(select(Item.sha256).where(Item.job_id.in_(jobs))))
        return {sha256 for sha256 in found if sha256} - set(session.scalars(select(Image.sha256)))
    if kind == "results":
        # Not shards: the same request makes other ones, which repair nothing.
        files = session.scalars(select(Sample.files).where(Sample.job_id.in_(jobs), Sample.shard.is_(None)))
        return {str(sha256) for by_kind in files for sha256 in by_kind.values()}
    running = select(Job.id).where(Job.status == "running")
    return set(session.scalars(select(Checkpoint.sha256).where(Checkpoint.job_id.in_(running))))
