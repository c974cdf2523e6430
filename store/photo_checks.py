"""Checks stored photos once, before they are trained on, and records what was found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from imaging.compression import FileCompression
from imaging.decoder_pool import DecoderPool
from imaging.photo_findings import Finding, jpeg_quality, judge
from imaging.photo_sets import CheckedPhoto
from imaging.rejections import ImageRejected
from store.db.tables import Image
from store.errors import BlobCorrupt, BlobMissing
from store.repositories.datasets import DatasetRepository
from store.store import Store

BATCH = 16  # photos whose findings are recorded in one transaction
PIXELS_OUTSIDE_WORKERS = 24_000_000  # of the largest photos that others than workers decode whole
NO_LIMIT = 2**62  # pixels

log = structlog.get_logger()


def check_photos(
    store: Store,
    decoders: DecoderPool,
    dataset_id: str | None = None,
    *,
    max_pixels: int = NO_LIMIT,
    seconds: float = float("inf"),
    stop: threading.Event | None = None,
    on_progress: Callable[[], None] = lambda: None,
) -> int:
    """Checks photos that were not checked yet, of one dataset or of all, and returns their number.

    Stops after about `seconds`, or when `stop` is set. Photos of more than `max_pixels` are left for another time.
    `on_progress` is called after every batch.
    """
    deadline, count = time.monotonic() + seconds, 0
    with ThreadPoolExecutor(decoders.processes) as pool:
        for images in _list_batches(store, dataset_id, max_pixels):
            if time.monotonic() >= deadline or (stop is not None and stop.is_set()):
                break
            checked = list(pool.map(partial(_check, store, decoders), images))
            with store.database.write() as session:
                datasets = DatasetRepository(session)
                for image, (findings, perceptual_hash) in zip(images, checked, strict=True):
                    datasets.record_findings(image.id, findings, perceptual_hash)
            count += len(images)
            on_progress()
    return count


def to_checked_photo(image: Image) -> CheckedPhoto:
    """Returns a stored photo with its own findings, none if it was not checked yet."""
    quality = _quality(image)
    findings = tuple(Finding.from_json(finding) for finding in image.findings or ())
    is_jpeg = image.compression is not None and image.compression["codec"] == "jpeg"
    return CheckedPhoto(
        image.id, image.role, image.name, image.sha256, image.perceptual_hash or "", findings, is_jpeg, quality
    )


def _list_batches(store: Store, dataset_id: str | None, max_pixels: int) -> Iterator[Sequence[Image]]:
    after = ""
    while True:
        with store.database.read() as session:
            images = DatasetRepository(session).list_unchecked(
                dataset_id, max_pixels=max_pixels, after=after, limit=BATCH
            )
        if not images:
            return
        yield images
        after = images[-1].id


def _check(store: Store, decoders: DecoderPool, image: Image) -> tuple[list[dict[str, object]], str]:
    try:
        measures = decoders.measure(store.blobs.verified_path(image.sha256))
    except (ImageRejected, BlobMissing, BlobCorrupt) as error:
        log.warning("photo not checked", image=image.id, name=image.name, error=str(error))
        return [], ""
    findings = judge(measures, image.role, _quality(image))
    return [finding.to_json() for finding in findings], measures.perceptual_hash


def _quality(image: Image) -> int | None:
    if image.compression is None:
        return None
    compression = FileCompression.from_json(image.compression)
    return jpeg_quality(compression.tables[0]) if compression.codec == "jpeg" and compression.tables else None
