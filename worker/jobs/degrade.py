"""The degrade job: for every image, samples of low-resolution / kernel / noise triplets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from imaging.image_files import ImageRefusedError
from models.inference.blur import KERNELS_AT_ONCE
from models.inference.triplet import Source, TripletMaker
from store.db.tables import Job
from store.degrade_options import DegradeOptions
from store.files.blobs import BlobLostError
from store.repositories.jobs import NewSample
from store.repositories.models import ModelRepository
from store.store import Store
from worker.jobs.degrade_batches import batches
from worker.jobs.items import WaitingItem, require_any_ok, require_room, waiting_items
from worker.jobs.triplet_files import detail, encoded
from worker.runtime.lease import Lease
from worker.runtime.model_cache import makers_of, one_thread_each, require_model
from worker.runtime.progress import ProgressRecorder
from worker.runtime.thread_pool import Allowance, Lanes
from worker.runtime.worker import WorkerContext

LANES_PER_CORE = 2  # a lane often waits while the disk makes its files last
PIXELS_AT_ONCE = 48_000_000  # in the images that are worked on; one that alone has more is worked on alone
PIXELS_TOGETHER = 2**21  # in the images of a batch, unless one alone has more
BYTES_TOGETHER = 2**20  # of triplets after which they are written: the disk takes many small files as it takes few


def degrade(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Several images at once; what is made is on disk, and soon after in the records, while more is being made."""
    store = context.store
    with store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    makers = makers_of(context, model)
    options = DegradeOptions.of(job.parameters)
    recorder = ProgressRecorder(store, job.id, job.attempt, done=job.done, total=job.total)
    allowance = Allowance(PIXELS_AT_ONCE)

    def work(batch: Sequence[WaitingItem], lane: int) -> Iterator[NewSample]:
        return _Batch(store, makers[lane % len(makers)], options, allowance).degraded(batch)

    def size(sha256: str) -> float:
        try:
            return store.blobs.size(sha256)
        except BlobLostError:
            return math.inf

    lanes = LANES_PER_CORE * context.settings.torch_threads
    shards = [
        shard
        for waiting in waiting_items(store, job.id, options.samples)
        for shard in waiting.shards(lanes, KERNELS_AT_ONCE)
    ]
    try:
        with one_thread_each(context.settings):
            Lanes(lanes, work).run(list(batches(shards, size, lanes)), recorder.add, lease.check)
    finally:
        recorder.record()
    require_any_ok(store, job.id)


@dataclass(frozen=True)
class _Batch:
    """What the work on a batch needs."""

    store: Store
    maker: TripletMaker
    options: DegradeOptions
    allowance: Allowance

    def degraded(self, shards: Sequence[WaitingItem]) -> Iterator[NewSample]:
        """The samples of shards, each file of which is read once."""
        require_room(self.store)
        readable, pixels = list[tuple[Path, Sequence[WaitingItem]]](), 0
        for _, of_file in groupby(shards, key=lambda shard: shard.item.sha256 or shard.item.position):
            some = list(of_file)
            try:
                file = some[0].file(self.store.blobs)
                its_pixels = self.store.decoders.count_pixels(file)
            except ImageRefusedError as error:
                yield from _refused(some, error)
                continue
            if readable and pixels + its_pixels > PIXELS_TOGETHER:
                yield from self._of_files(readable, pixels)
                readable, pixels = [], 0
            readable.append((file, some))
            pixels += its_pixels
        if readable:
            yield from self._of_files(readable, pixels)

    def _of_files(self, files: Sequence[tuple[Path, Sequence[WaitingItem]]], pixels: int) -> Iterator[NewSample]:
        with self.allowance.taken(pixels):
            detailed, sources = [], []
            for file, shards in files:
                try:
                    image = self.store.decoders.read_rgb(file)
                except ImageRefusedError as error:
                    yield from _refused(shards, error)
                    continue
                for shard in shards:
                    part = shard.cut_from(image)
                    if self.options.min_detail and detail(part) < self.options.min_detail:
                        yield from shard.too_flat()
                        continue
                    detailed.append(shard)
                    sources.append(Source(part, shard.key, shard.samples))
            yield from self._written(detailed, sources)

    def _written(self, shards: Sequence[WaitingItem], sources: Sequence[Source]) -> Iterator[NewSample]:
        made, size = list[tuple[int, int, dict[str, bytes]]](), 0
        for which, sample, triplet in self.maker.make(sources, seed=self.options.seed):
            files = encoded(triplet, self.options, sources[which].sha256, sample)
            made.append((shards[which].item.position, sample, files))
            size += sum(map(len, files.values()))
            if size >= BYTES_TOGETHER:
                yield from self._put(made)
                made, size = [], 0
        yield from self._put(made)

    def _put(self, made: Sequence[tuple[int, int, dict[str, bytes]]]) -> Iterator[NewSample]:
        """(position, sample, files) each."""
        sha256s = iter(self.store.blobs.put_all([data for *_, files in made for data in files.values()]))
        for position, sample, files in made:
            yield NewSample(position, sample, {what: next(sha256s) for what in files})


def _refused(shards: Sequence[WaitingItem], error: ImageRefusedError) -> Iterator[NewSample]:
    for shard in shards:
        yield from shard.refused(error)
