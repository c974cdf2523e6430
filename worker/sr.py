"""The super-resolution job: every image through the EDSR, in tiles."""

from __future__ import annotations

from models.tiles import super_resolve
from store.image_files import write_png
from store.jobs import NewSample
from store.tables import Job
from store.trained import ModelRepository
from worker.images import require_any_ok, waiting_images
from worker.lease import Lease
from worker.networks import edsr_of, require_model
from worker.process import WorkerContext
from worker.progress import ProgressRecorder


def super_resolve_images(context: WorkerContext, job: Job, lease: Lease) -> None:
    """An image has one sample, number 0. Between two tiles the job can be canceled."""
    with context.store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    edsr = edsr_of(context, model)
    recorder = ProgressRecorder(context.store, job.id, job.attempt, done=job.ok + job.failed, total=job.total)

    def after_tile(done: int, total: int) -> None:
        lease.check()
        if done < total:
            recorder.advance(done / total)

    try:
        for image in waiting_images(context.store, job.id, 1, recorder, lease):
            enlarged = super_resolve(edsr, image.pixels, tile=job.parameters["tile"], after_tile=after_tile)
            recorder.add(NewSample(image.item.position, 0, {"sr": context.store.blobs.put(write_png(enlarged))}))
    finally:
        recorder.record()
    require_any_ok(context.store, job.id)
