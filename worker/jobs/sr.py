"""The sr job: super-resolve every image with the model's EDSR. Rows are computed and written in bands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imaging.image_files import ImageRejected
from imaging.png import PngWriter
from models.inference.tiling import upscale_rows
from store.db.tables import Job
from store.repositories.models import ModelRepository
from store.repositories.samples import NewSample
from worker.jobs.items import PendingItem, check_disk_space, pending_items, record_results
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease
from worker.runtime.model_cache import edsr_for, require_model


def run_sr(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Upscales image by image. Every image has one sample, number 0. A cancel takes effect after each band."""
    store = context.store
    with store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    edsr = edsr_for(context, model)

    def on_progress(fraction: float) -> None:
        lease.check()
        if fraction < 1:
            recorder.set_partial(fraction)

    def process(item: PendingItem) -> Iterator[NewSample]:
        """Yields the result of an image: ok or failed."""
        try:
            pixels = store.decoders.read_rgb(item.verified_file(store.blobs))
        except ImageRejected as error:
            yield from item.fail(error)
        else:
            yield item.succeed(0, {"sr": upscale(pixels)})

    def upscale(lr: NDArray[np.uint8]) -> str:
        """Upscales an image (h, w, 3) and returns the SHA-256 of the PNG's blob."""
        height, width = (side * edsr.config.scale for side in lr.shape[:2])
        with store.blobs.scratch() as folder:
            path = folder / "sr.png"
            with path.open("wb") as file, PngWriter(file, width, height) as png:
                for rows in upscale_rows(edsr, lr, tile=job.parameters["tile"], on_progress=on_progress):
                    png.write(rows)
            return store.blobs.put_file(path)

    with record_results(store, job) as recorder:
        for item in pending_items(store, job.id, samples=1):
            lease.check()
            check_disk_space(store)
            for result in process(item):
                recorder.add(result)
