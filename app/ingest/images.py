"""Ingests images: validates all files of a request, then stores the accepted ones as blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from app.http.problems import ProblemError
from app.http.schemas import RejectedFile
from app.ingest.archives import ArchiveRejectedError, ExtractionBudget, detect_archive, extract
from app.ingest.files import ReceivedFile, file_too_large_message
from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from imaging.image_files import ImageRejected, ImageSize
from store.repositories.datasets import NewImage
from store.store import Store

FLUSH_CONCURRENCY = 8  # a disk flushes several files in the time of one


@dataclass(frozen=True)
class MinimumSide:
    """The minimum side of an image, in pixels, and what needs it."""

    pixels: int
    reason: str


@dataclass(frozen=True)
class _ValidImage:
    file: ReceivedFile
    size: ImageSize


def ingest_images(
    files: Sequence[ReceivedFile],
    folder: Path,
    store: Store,
    settings: Settings,
    minimum: MinimumSide,
    check_sizes: Callable[[Sequence[tuple[int, int]]], None] = lambda _: None,
) -> tuple[list[NewImage], list[RejectedFile]]:
    """Stores every valid image as a blob; archives are extracted. Raises `ProblemError` if no image is valid.

    No blob is stored before all images were validated, so a rejected request leaves none behind. `check_sizes` gets
    the (height, width) of each valid image and may raise.
    """
    budget = ExtractionBudget(settings.max_files - len(files), settings.max_archive_bytes, store.quota)
    try:
        validated = _validate_all(files, folder, store, settings, minimum, budget)
        valid = [image for image in validated if isinstance(image, _ValidImage)]
        rejected = [file for file in validated if isinstance(file, RejectedFile)]
        if not valid:
            raise _no_image_accepted(rejected)
        check_sizes([(image.size.height, image.size.width) for image in valid])
        with ThreadPoolExecutor(FLUSH_CONCURRENCY) as pool:
            accepted = list(pool.map(partial(_store, store), valid))
        store.blobs.sync()
        return accepted, rejected
    finally:
        store.quota.release(budget.reserved)


def _validate_all(
    files: Sequence[ReceivedFile],
    folder: Path,
    store: Store,
    settings: Settings,
    minimum: MinimumSide,
    budget: ExtractionBudget,
) -> list[_ValidImage | RejectedFile]:
    validate = partial(_validate, store.decoders, settings, minimum)
    with ThreadPoolExecutor(store.decoders.processes) as pool:
        try:
            return list(pool.map(validate, _extract_all(files, folder, settings, budget)))
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise


def _validate(
    decoders: DecoderPool, settings: Settings, minimum: MinimumSide, file: ReceivedFile | RejectedFile
) -> _ValidImage | RejectedFile:
    if isinstance(file, RejectedFile):
        return file
    try:
        return _ValidImage(file, _check_size(file, decoders, settings, minimum))
    except ImageRejected as error:
        file.path.unlink()
        return RejectedFile(name=file.name, code=error.code, message=error.message)


def _store(store: Store, image: _ValidImage) -> NewImage:
    file, size = image.file, image.size
    store.quota.commit(file.path.stat().st_size)
    return NewImage(file.name, store.blobs.move_in(file.path, file.sha256), size.width, size.height)


def _extract_all(
    files: Sequence[ReceivedFile], folder: Path, settings: Settings, budget: ExtractionBudget
) -> Iterator[ReceivedFile | RejectedFile]:
    for file in files:
        opener = detect_archive(file)
        if opener is None:
            yield file
            continue
        try:
            yield from extract(file, opener, folder, settings, budget)
        except ArchiveRejectedError as error:
            yield RejectedFile(name=file.name, code=error.code, message=error.message)
        file.path.unlink()


def _check_size(file: ReceivedFile, decoders: DecoderPool, settings: Settings, minimum: MinimumSide) -> ImageSize:
    """Returns the image's size in pixels. Raises `ImageRejected` if it is too large, too small or no image."""
    if file.path.stat().st_size > settings.max_file_bytes:
        raise ImageRejected("file_too_large", file_too_large_message(settings.max_file_bytes))
    size = file.validation.result() if file.validation else decoders.check(file.path)
    if min(size.width, size.height) < minimum.pixels:
        raise ImageRejected(
            "image_too_small",
            f"The image has {size.width}×{size.height} pixels; {minimum.reason} needs at least {minimum.pixels} per "
            "side. Leave it out, or send a larger one.",
        )
    return size


def _no_image_accepted(rejected: list[RejectedFile]) -> ProblemError:
    if not rejected:
        return ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no_files",
            "The request has no files. Send images or archives of images as parts named 'files'.",
        )
    codes = {file.code for file in rejected}
    first = rejected[0]
    more = f" The same applies to all {len(rejected)} files." if len(rejected) > 1 and len(codes) == 1 else ""
    if len(codes) > 1:
        more = f" All {len(rejected)} files were rejected; see `rejected` for each reason."
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        codes.pop() if len(codes) == 1 else "no_image_accepted",
        f"{first.name}: {first.message}{more}",
        rejected=[file.model_dump() for file in rejected],
    )
