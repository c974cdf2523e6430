"""The degrade job: low-resolution / kernel / noise triplets for every image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imaging.rejections import ImageRejected
from models.inference.triplet import SourceImage, TripletSampler
from store.degrade_options import DegradeOptions
from store.errors import BlobMissing
from store.repositories.claims import Claim
from store.repositories.models import ModelRepository
from store.repositories.samples import NewSample
from store.store import Store
from worker.jobs.degrade_batches import (
    PIXELS_IN_FLIGHT,
    THREADS_PER_CORE,
    Batch,
    FileWork,
    OpenedFile,
    plan_batches,
    split_by_bytes,
    split_by_pixels,
)
from worker.jobs.items import PendingItem, check_disk_space, pending_items, shard_done
from worker.jobs.result_files import EncodedSample, ResultFiles, record_results
from worker.jobs.triplet_files import encode_triplet, mean_gradient
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease, ShardYielded
from worker.runtime.model_cache import require_model, samplers_for, single_threaded_torch
from worker.runtime.outcome import ShardDone
from worker.runtime.progress import Result
from worker.runtime.thread_pool import Budget, OrderedThreadPool


def run_degrade(context: WorkerContext, claim: Claim, lease: Lease) -> ShardDone:
    """Process the batches of the plan in several threads. Record results while later ones are computed."""
    store, job = context.store, claim.job
    options = DegradeOptions.from_parameters(job.parameters)
    with store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    samplers = samplers_for(context, model)
    budget = Budget(PIXELS_IN_FLIGHT)

    def file_size(sha256: str) -> float:
        try:
            return store.blobs.size(sha256)
        except BlobMissing:
            return math.inf

    threads = THREADS_PER_CORE * context.settings.torch_threads
    pending = pending_items(store, claim, options.samples)
    batches = plan_batches(pending, file_size, threads)
    with record_results(store, claim) as (recorder, files), single_threaded_torch(context.settings):

        def process(batch: Batch, thread: int) -> Iterator[Result]:
            sampler = samplers[thread % len(samplers)]
            return _BatchProcessor(store, files, sampler, options, budget).process_batch(batch)

        complete = OrderedThreadPool(threads, process).run(batches, recorder.add, lease.check, lease.is_yielding)
    if not complete:
        raise ShardYielded
    return shard_done(job, pending, recorder.seconds)


@dataclass(frozen=True)
class _BatchProcessor:
    """Opens, loads, degrades, encodes and stores the images of a batch."""

    store: Store
    results: ResultFiles
    sampler: TripletSampler
    options: DegradeOptions
    budget: Budget

    def process_batch(self, batch: Batch) -> Iterator[Result]:
        """Yields one result for each sample: ok, failed or skipped."""
        check_disk_space(self.store)
        opened, failed = self._open(batch)
        yield from failed
        for files in split_by_pixels(opened):
            with self.budget.acquire(sum(file.pixels for file in files)):
                images, rejected = self._load(files)
                yield from rejected
                for triplets in split_by_bytes(self._encode(images), lambda triplet: triplet.size):
                    yield from self.results.put_all(triplets)

    def _open(self, batch: Sequence[FileWork]) -> tuple[list[OpenedFile], list[NewSample]]:
        """Returns the usable files and the results of the others."""
        opened, failed = list[OpenedFile](), list[NewSample]()
        for work in batch:
            try:
                path = work.items[0].verified_file(self.store.blobs)
                opened.append(OpenedFile(path, self.store.decoders.count_pixels(path), work.items))
            except ImageRejected as error:
                failed += [result for item in work.items for result in item.fail(error)]
        return opened, failed

    def _load(self, files: Sequence[OpenedFile]) -> tuple[list[tuple[PendingItem, SourceImage]], list[NewSample]]:
        """Decodes the files and crops the images. Returns what is to be degraded, and the results of the rest."""
        images, rejected = list[tuple[PendingItem, SourceImage]](), list[NewSample]()
        for file in files:
            try:
                pixels = self.store.decoders.read_rgb(file.path)
            except ImageRejected as error:
                rejected += [result for item in file.items for result in item.fail(error)]
                continue
            for item in file.items:
                try:
                    crop = item.crop(pixels)
                except ImageRejected as error:
                    rejected += item.fail(error)
                    continue
                if self.options.min_detail and mean_gradient(crop) < self.options.min_detail:
                    rejected += item.skip_low_detail()
                else:
                    images.append((item, SourceImage(crop, item.seed_key, item.samples)))
        return images, rejected

    def _encode(self, images: Sequence[tuple[PendingItem, SourceImage]]) -> Iterator[EncodedSample]:
        sources = [source for _, source in images]
        for index, sample, triplet in self.sampler.sample(sources, seed=self.options.seed):
            item, source = images[index]
            yield EncodedSample(item, sample, encode_triplet(triplet, self.options, source.seed_key, sample))
