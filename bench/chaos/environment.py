"""What the faults act on, and the settings under which they are injected."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.load import Ledger
from bench.services.cluster import Cluster
from bench.services.postgresql import PostgreSQL
from bench.services.service import Service

LEASE_SECONDS = 3
CHECKPOINT_SECONDS = 2
GRACE_SECONDS = 30  # before an unreferenced blob is deleted
VARIABLES = {
    "PATINA_LEASE_SECONDS": str(LEASE_SECONDS),
    "PATINA_REAP_EVERY_SECONDS": "0.5",
    "PATINA_CHECKPOINT_EVERY_SECONDS": str(CHECKPOINT_SECONDS),
    "PATINA_UNREFERENCED_BLOB_SECONDS": str(GRACE_SECONDS),
    "PATINA_MAX_ATTEMPTS": "1000",  # here no job is the cause of a crash
    "PATINA_MIN_FREE_BYTES": "0",  # otherwise the service rejects requests before the disk is full
    "PATINA_TORCH_THREADS": "1",
    "PATINA_LOG_JSON": "true",
}


@dataclass
class Environment:
    """The targets of the faults."""

    service: Service
    ledger: Ledger
    random: random.Random
    disk: Path | None = None  # a small file system that holds only the data folder
    postgresql: PostgreSQL | None = None
    cluster: Cluster | None = None  # the service, if it is one
    orphans: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)  # SHA-256 of blobs
