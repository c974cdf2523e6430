"""The sr job: super-resolve every image with the model's EDSR. Rows are computed and written in bands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from imaging.image_info import Picture
from imaging.rejections import ImageRejected
from models.inference.tiling import upscale_rows
from store.repositories.claims import Claim
from store.repositories.models import ModelRepository
from store.sr_options import Color, Depth, SrOptions
from worker.jobs.alpha import fill_transparent
from worker.jobs.items import PendingItem, check_disk_space, pending_items, shard_done
from worker.jobs.result_files import record_results
from worker.jobs.sr_files import bits_of, write_result
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease, ShardYielded
from worker.runtime.model_cache import edsr_for, require_model
from worker.runtime.outcome import ShardDone
from worker.runtime.progress import Result


def run_sr(context: WorkerContext, claim: Claim, lease: Lease) -> ShardDone:
    """Upscales image by image. Every image has one sample, number 0. A cancel takes effect after each band."""
    store, job = context.store, claim.job
    options = SrOptions.from_parameters(job.parameters)
    with store.database.read() as session:
        model = require_model(ModelRepository(session).get(job.model_id or ""))
    network = edsr_for(context, model)

    def on_progress(fraction: float) -> None:
        lease.check()
        if fraction < 1:
            recorder.set_partial(fraction)

    def process(item: PendingItem) -> Iterator[Result]:
        """Yields the results of an image and its copies: ok or failed."""
        try:
            picture = store.decoders.read_picture(
                item.verified_file(store.blobs),
                deep=options.depth is not Depth.eight,
                keep_color=options.color is Color.keep,
            )
            with store.blobs.scratch() as folder:
                upscale(picture, folder / "sr")
                yield from files.put_file(item, "sr", folder / "sr")
        except ImageRejected as error:
            yield from item.fail(error)

    def upscale(picture: Picture, path: Path) -> None:
        """Writes an upscaled picture. Raises `ImageRejected`."""
        lr = picture.rgb if picture.alpha is None else fill_transparent(picture.rgb, picture.alpha)
        bits = bits_of(picture, options)
        rows = upscale_rows(network, lr, tile=options.tile, bits=bits, on_progress=on_progress)
        write_result(path, picture, network.edsr.config.scale, rows, options)

    pending = pending_items(store, claim, samples=1)
    with record_results(store, claim) as (recorder, files):
        for item in pending:
            lease.check()
            if lease.is_yielding():
                raise ShardYielded
            check_disk_space(store)
            for result in process(item):
                recorder.add(result)
    return shard_done(job, pending, recorder.seconds)
