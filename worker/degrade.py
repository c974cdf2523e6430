"""The degrade job: for every image, samples of low-resolution / kernel / noise triplets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.blur import KERNELS_AT_ONCE
from models.triplet import Source, TripletMaker
from store.degrading import DegradeOptions
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

    def work(shards: Sequence[WaitingItem], lane: int) -> Iterator[NewSample]:
        return _degraded(context.store, makers[lane % len(makers)], options, shards, allowance)

    lanes = LANES_PER_CORE * context.settings.torch_threads
    shards = [
        shard
        for waiting in waiting_items(context.store, job.id, options.samples)
        for shard in waiting.shards(lanes, KERNELS_AT_ONCE)
    ]
    try:
        with one_thread_each(context.settings):
            Lanes(lanes, work).run(list(by_file(shards)), recorder.add, lease.check)
    finally:
        recorder.record()
    require_any_ok(context.store, job.id)


def by_file(shards: Sequence[WaitingItem]) -> Iterator[Sequence[WaitingItem]]:
    """Shards of one file that follow each other, as the squares of an image do, until there are samples enough."""
    some: list[WaitingItem] = []
    samples = 0
    for shard in shards:
        same = bool(some) and shard.item.sha256 is not None and shard.item.sha256 == some[0].item.sha256
        if some and (not same or samples + len(shard.samples) > KERNELS_AT_ONCE):
            yield some
            some, samples = [], 0
        some.append(shard)
        samples += len(shard.samples)
    if some:
        yield some


def _degraded(
    store: Store, maker: TripletMaker, options: DegradeOptions, shards: Sequence[WaitingItem], allowance: Allowance
) -> Iterator[NewSample]:
    """The samples of shards of one file, which is read once."""
    require_room(store)
    try:
        file = shards[0].file(store.blobs)
        with allowance.taken(store.decoders.count_pixels(file)):
            yield from _made(store, maker, options, shards, store.decoders.read_rgb(file))
    except ImageRefusedError as error:
        for shard in shards:
            yield from shard.refused(error)


def _made(
    store: Store, maker: TripletMaker, options: DegradeOptions, shards: Sequence[WaitingItem], image: NDArray[np.uint8]
) -> Iterator[NewSample]:
    """The samples of shards of one image (height, width, 3)."""
    detailed, sources = [], []
    for shard in shards:
        part = shard.cut_from(image)
        if options.min_detail and detail(part) < options.min_detail:
            yield from shard.too_flat()
            continue
        detailed.append(shard)
        sources.append(Source(part, shard.key, shard.samples))
    for which, sample, triplet in maker.make(sources, seed=options.seed):
        files = keep(store.blobs, triplet, options, sources[which].sha256, sample)
        yield NewSample(detailed[which].item.position, sample, files)
