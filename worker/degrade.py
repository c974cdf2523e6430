"""The degrade job: for every image, samples of low-resolution / kernel / noise triplets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.blur import KERNELS_AT_ONCE
from models.triplet import TripletMaker
from store.degrading import DegradeOptions, sample_key
from store.image_files import ImageRefusedError
from store.jobs import NewSample
from store.store import Store
from store.tables import Job
from store.trained import ModelRepository
from worker.images import WaitingItem, require_any_ok, require_room, waiting_items
from worker.lanes import Allowance, Lanes
from worker.lease import Lease
from worker.networks import makers_of, one_thread_each, require_model
from worker.process import WorkerContext
from worker.progress import ProgressRecorder
from worker.triplet_files import detail, keep

LANES_PER_CORE = 2  # a lane often waits while the disk makes its files last
PIXELS_AT_ONCE = 48_000_000  # in the images that are worked on; one that alone has more is worked on alone


def degrade(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Several images at once; each sample is on disk, and soon after in the records, when the next of it is made."""
    with context.store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    makers = makers_of(context, model)
    options = DegradeOptions.of(job.parameters)
    recorder = ProgressRecorder(context.store, job.id, job.attempt, done=job.done, total=job.total)
    allowance = Allowance(PIXELS_AT_ONCE)

    def work(shard: WaitingItem, lane: int) -> Iterator[NewSample]:
        return _degraded(context.store, makers[lane % len(makers)], options, shard, allowance)

    lanes = LANES_PER_CORE * context.settings.torch_threads
    shards = [
        shard
        for waiting in waiting_items(context.store, job.id, options.samples)
        for shard in waiting.shards(lanes, KERNELS_AT_ONCE)
    ]
    try:
        with one_thread_each(context.settings):
            Lanes(lanes, work).run(shards, recorder.add, lease.check)
    finally:
        recorder.record()
    require_any_ok(context.store, job.id)


def _degraded(
    store: Store, maker: TripletMaker, options: DegradeOptions, waiting: WaitingItem, allowance: Allowance
) -> Iterator[NewSample]:
    require_room(store)
    try:
        file = waiting.file(store.blobs)
        pixels = store.decoders.count_pixels(file)
    except ImageRefusedError as error:
        yield from waiting.refused(error)
        return
    with allowance.taken(pixels):
        try:
            image = store.decoders.read_rgb(file)
        except ImageRefusedError as error:
            yield from waiting.refused(error)
            return
        if crop := waiting.item.crop:
            top, left, height, width = crop
            image = np.ascontiguousarray(image[top : top + height, left : left + width])
        if options.min_detail and detail(image) < options.min_detail:
            yield from waiting.too_flat()
            return
        key = sample_key(file.name, crop)  # blobs are named by their SHA-256
        triplets = maker.make(image, seed=options.seed, source_sha256=key, samples=waiting.samples)
        for sample, triplet in zip(waiting.samples, triplets, strict=True):
            yield NewSample(waiting.item.position, sample, keep(store.blobs, triplet, options, key, sample))
