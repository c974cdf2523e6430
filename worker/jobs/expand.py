"""Lists the items of a job on a whole dataset, in chunks. Other workers process the first ones meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from store.crops import split_into_crops
from store.output_names import OutputNames
from store.repositories.claims import Claim
from store.repositories.expansion import Expansion, ExpansionRepository, SourceGoneError
from store.repositories.samples import NewItem
from store.store import Store
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease, ShardYielded
from worker.runtime.outcome import JobFailedError, ShardDone, enqueue

READ_IMAGES = 2000
CHUNK_ITEMS = 2000  # in one transaction, which blocks other writers of SQLite for about 50 ms
CHUNKS_BEFORE_YIELD = 10  # of a claim: it first repeats the names of earlier items, which takes as long

Items = list[tuple[str, NewItem]]


def list_items(context: WorkerContext, claim: Claim, lease: Lease) -> ShardDone:
    """Adds an item for each image, or for each crop of it, in the order of the images' arrival.

    Raises `JobFailedError` if images were deleted since the request.
    """
    store, job = context.store, claim.job
    expansion, position = Expansion.from_json(claim.expansion or {}), claim.start
    try:
        for number, (after, items) in enumerate(_iter_chunks(claim, expansion, _iter_images(store, expansion)), 1):
            with store.database.write() as session:
                ExpansionRepository(session).add_items(job, expansion, after, position, items)
            enqueue(store, job.id, job.kind)
            position += len(items)
            lease.check()
            if number >= CHUNKS_BEFORE_YIELD and lease.is_yielding():
                raise ShardYielded
    except SourceGoneError as error:
        raise JobFailedError(
            "source_deleted", "Images of the source dataset were deleted before the job had read them. Send it again."
        ) from error
    with store.database.write() as session:
        ExpansionRepository(session).set_total(job, position * int(job.parameters.get("samples", 1)))
    return ShardDone(None)


def _iter_chunks(
    claim: Claim, expansion: Expansion, images: Iterator[tuple[str, NewItem, tuple[int, int]]]
) -> Iterator[tuple[str, Items]]:
    """Yields items, and the id of the last image that they belong to. Raises `SourceGoneError` if images are gone."""
    crop = int(claim.job.parameters.get("crop", 0))
    step = int(claim.job.parameters.get("crop_step", crop))
    names, count, chunk, image_id = OutputNames(), 0, Items(), ""
    for image_id, image, size in images:
        count += 1
        items = [(names.assign(image.name), image)]
        if image_id <= expansion.after:  # an earlier claim has listed it
            continue
        chunk += split_into_crops(items, {image.sha256 or "": size}, crop, step) if crop else items
        if len(chunk) >= CHUNK_ITEMS:
            yield image_id, chunk
            chunk = Items()
    if chunk:
        yield image_id, chunk
    if count < expansion.count:
        raise SourceGoneError(expansion.dataset)


def _iter_images(store: Store, expansion: Expansion) -> Iterator[tuple[str, NewItem, tuple[int, int]]]:
    """Yields the id, the item and (height, width) of each image."""
    after = ""
    while True:
        with store.database.read() as session:
            rows = ExpansionRepository(session).list_images(expansion, after, READ_IMAGES)
        if not rows:
            return
        for row in rows:
            yield row.id, NewItem(row.name, row.sha256), (row.height, row.width)
        after = rows[-1].id
