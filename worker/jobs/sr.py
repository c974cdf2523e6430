"""The super-resolution job: every image through the EDSR, read, enlarged and written some rows at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imaging.png import PngWriter
from models.inference.tiling import super_resolved_rows
from store.db.tables import Job
from store.repositories.jobs import NewSample
from store.repositories.models import ModelRepository
from worker.jobs.items import require_any_ok, waiting_images
from worker.runtime.lease import Lease
from worker.runtime.model_cache import edsr_of, require_model
from worker.runtime.progress import ProgressRecorder
from worker.runtime.worker import WorkerContext


def super_resolve_images(context: WorkerContext, job: Job, lease: Lease) -> None:
    """An image has one sample, number 0. Between two bands of it the job can be canceled."""
    with context.store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    edsr = edsr_of(context, model)
    recorder = ProgressRecorder(context.store, job.id, job.attempt, done=job.done, total=job.total)

    def after_band(done: float) -> None:
        lease.check()
        if done < 1:
            recorder.advance(done)

    def enlarged(lr: NDArray[np.uint8]) -> str:
        """The SHA-256 of the blob."""
        height, width = (side * edsr.config.scale for side in lr.shape[:2])
        with context.store.blobs.scratch() as folder:
            path = folder / "sr.png"
            with path.open("wb") as file, PngWriter(file, width, height) as png:
                for rows in super_resolved_rows(edsr, lr, tile=job.parameters["tile"], after_band=after_band):
                    png.write(rows)
            return context.store.blobs.put_file(path)

    try:
        for image in waiting_images(context.store, job.id, recorder, lease):
            recorder.add(NewSample(image.item.position, 0, {"sr": enlarged(image.pixels)}))
    finally:
        recorder.record()
    require_any_ok(context.store, job.id)
