"""The degrade job: for every image, samples of low-resolution / kernel / noise triplets."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from models.triplet import Triplet, degrade_samples
from store.blobs import Blobs
from store.image_files import write_png
from store.jobs import NewSample
from store.tables import Job
from store.trained import ModelRepository
from worker.images import require_any_ok, waiting_images
from worker.lease import Lease
from worker.networks import degradation_of, require_model
from worker.process import WorkerContext
from worker.progress import ProgressRecorder


def degrade(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Each sample is on disk, and soon after in the records, before the next but few is made."""
    with context.store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    degradation = degradation_of(context, model)
    recorder = ProgressRecorder(context.store, job.id, job.attempt, done=job.ok + job.failed, total=job.total)
    try:
        for image in waiting_images(context.store, job.id, job.parameters["samples"], recorder, lease):
            triplets = degrade_samples(
                degradation,
                image.pixels,
                seed=job.parameters["seed"],
                source_sha256=image.sha256,
                samples=image.samples,
            )
            for sample, triplet in zip(image.samples, triplets, strict=True):
                recorder.add(NewSample(image.item.position, sample, _write(context.store.blobs, triplet)))
                lease.check()
    finally:
        recorder.record()
    require_any_ok(context.store, job.id)


def _write(blobs: Blobs, triplet: Triplet) -> dict[str, str]:
    return {
        "lr": blobs.put(write_png(triplet.lr)),
        "kernel": blobs.put(_npy(triplet.kernel)),
        "noise": blobs.put(_npy(triplet.noise)),
    }


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
