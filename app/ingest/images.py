"""Ingests images: validates all files of a request, then stores the accepted ones as blobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from app.http.problems import ProblemError
from app.http.schemas import FileWarning, RejectedFile
from app.ingest.archives import ArchiveRejectedError, ExtractionBudget, detect_archive, extract
from app.ingest.files import ReceivedFile, file_too_large_message
from app.ingest.frames import extract_frames
from app.ingest.options import DEFAULTS, Frames, ReadOptions, Transparency
from app.ingest.policy import decide
from config.settings import Settings
from imaging.compression import read_compression
from imaging.image_info import ImageCheck, ImageSize, Rectangle
from imaging.rejections import ImageRejected, ImageWarning
from store.repositories.datasets import NewImage
from store.store import Store

MAX_JOB_WARNINGS = 1000
FLUSH_CONCURRENCY = 8  # a disk flushes several files in the time of one


@dataclass(frozen=True)
class MinimumSide:
    """The minimum side of an image, in pixels, and what needs it."""

    pixels: int
    reason: str


@dataclass(frozen=True)
class _ValidImage:
    """`size` is that of the part that is used."""

    file: ReceivedFile
    size: ImageSize
    opaque: Rectangle | None
    warnings: Sequence[ImageWarning]


@dataclass(frozen=True)
class _Ingestion:
    """What the validation of all files of a request needs."""

    folder: Path
    store: Store
    settings: Settings
    minimum: MinimumSide
    options: ReadOptions
    transparency: Transparency
    budget: ExtractionBudget


def ingest_all(
    files: Sequence[ReceivedFile],
    folder: Path,
    store: Store,
    settings: Settings,
    minimum: MinimumSide,
    check_sizes: Callable[[Sequence[tuple[int, int]]], None] = lambda _: None,
    *,
    options: ReadOptions = DEFAULTS,
    transparency: Transparency = Transparency.crop,
) -> list[NewImage | RejectedFile]:
    """Stores every valid image as a blob; archives are extracted. Returns what became of each file, in order.

    No blob is stored before all images were validated, so a rejected request leaves none behind. `check_sizes` gets
    the (height, width) of each valid image and may raise.
    """
    budget = ExtractionBudget(settings.max_files - len(files), settings.max_archive_bytes, store.quota)
    ingestion = _Ingestion(folder, store, settings, minimum, options, transparency, budget)
    try:
        validated = _validate_all(files, ingestion)
        valid = [image for image in validated if isinstance(image, _ValidImage)]
        if valid:
            check_sizes([(image.size.height, image.size.width) for image in valid])
        with ThreadPoolExecutor(FLUSH_CONCURRENCY) as pool:
            stored = pool.map(partial(_store, store), valid)
            outcomes = [file if isinstance(file, RejectedFile) else next(stored) for file in validated]
        store.blobs.sync()
        return outcomes
    finally:
        store.quota.release(budget.reserved)


def require_accepted(outcomes: Sequence[NewImage | RejectedFile]) -> None:
    """Raises `ProblemError` (422) with the reasons if no file is an image that can be used."""
    rejected = [file for file in outcomes if isinstance(file, RejectedFile)]
    if len(rejected) == len(outcomes):
        raise _no_image_accepted(rejected)


def describe_warnings(outcomes: Sequence[object]) -> dict[str, list[dict[str, str]]]:
    """Returns a job's parameter with the first thousand warnings, none without warnings."""
    found = list_warnings(outcomes)[:MAX_JOB_WARNINGS]
    return {"warnings": [warning.model_dump() for warning in found]} if found else {}


def list_warnings(outcomes: Sequence[object]) -> list[FileWarning]:
    """Returns what the sender should know of new images; others have no warnings."""
    return [
        FileWarning(name=image.name, code=code, message=message)
        for image in outcomes
        if isinstance(image, NewImage)
        for code, message in image.warnings
    ]


def _validate_all(files: Sequence[ReceivedFile], ingestion: _Ingestion) -> list[_ValidImage | RejectedFile]:
    with ThreadPoolExecutor(ingestion.store.decoders.processes) as pool:
        try:
            outcomes = pool.map(partial(_validate, ingestion), _extract_all(files, ingestion))
            return [outcome for file in outcomes for outcome in file]
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise


def _validate(ingestion: _Ingestion, file: ReceivedFile | RejectedFile) -> list[_ValidImage | RejectedFile]:
    """Returns the outcome for a file, or for each of its frames."""
    if isinstance(file, RejectedFile):
        return [file]
    try:
        check = _check(file, ingestion)
        size, remarks = decide(check, ingestion.options, ingestion.transparency)
        if check.frames > 1 and ingestion.options.frames is Frames.all:
            return _validate_frames(ingestion, file, remarks)
        check_side(size.width, size.height, ingestion.minimum)
        return [_ValidImage(file, size, check.opaque, remarks)]
    except ImageRejected as error:
        file.path.unlink()
        return [_reject(file, error)]


def _validate_frames(
    ingestion: _Ingestion, file: ReceivedFile, remarks: Sequence[ImageWarning]
) -> list[_ValidImage | RejectedFile]:
    """Extracts a file's frames and returns the outcome for each. The remarks on the file go to its first frame."""
    outcomes: list[_ValidImage | RejectedFile] = []
    for frame in extract_frames(file, ingestion.store.decoders, ingestion.folder, ingestion.budget, ingestion.settings):
        check = _check(frame, ingestion)
        try:
            size, own = decide(check, ingestion.options, ingestion.transparency)
            check_side(size.width, size.height, ingestion.minimum)
            outcomes.append(_ValidImage(frame, size, check.opaque, [*remarks, *own]))
            remarks = ()
        except ImageRejected as error:
            frame.path.unlink()
            outcomes.append(_reject(frame, error))
    file.path.unlink()
    return outcomes


def _reject(file: ReceivedFile, error: ImageRejected) -> RejectedFile:
    return RejectedFile(name=file.name, code=error.code, message=error.message)


def _store(store: Store, image: _ValidImage) -> NewImage:
    file, size = image.file, image.size
    store.quota.commit(file.path.stat().st_size)
    compression = read_compression(file.path)
    blob = store.blobs.move_in(file.path, file.sha256)
    return NewImage(
        file.name,
        blob,
        size.width,
        size.height,
        compression.to_json() if compression else None,
        opaque=image.opaque,
        warnings=[(warning.code, warning.message) for warning in image.warnings],
    )


def _extract_all(files: Sequence[ReceivedFile], ingestion: _Ingestion) -> Iterator[ReceivedFile | RejectedFile]:
    for file in files:
        opener = detect_archive(file)
        if opener is None:
            yield file
            continue
        try:
            yield from extract(file, opener, ingestion.folder, ingestion.settings, ingestion.budget)
        except ArchiveRejectedError as error:
            yield RejectedFile(name=file.name, code=error.code, message=error.message)
        file.path.unlink()


def _check(file: ReceivedFile, ingestion: _Ingestion) -> ImageCheck:
    """Returns what is known of an image. Raises `ImageRejected` if its file is too large or no image."""
    if file.path.stat().st_size > ingestion.settings.max_file_bytes:
        raise ImageRejected("file_too_large", file_too_large_message(ingestion.settings.max_file_bytes))
    return file.validation.result() if file.validation else ingestion.store.decoders.check(file.path)


def check_side(width: int, height: int, minimum: MinimumSide) -> None:
    """Raises `ImageRejected` if an image of this size, in pixels, is too small."""
    if min(width, height) < minimum.pixels:
        raise ImageRejected(
            "image_too_small",
            f"The image has {width}×{height} pixels; {minimum.reason} needs at least {minimum.pixels} per side. Leave "
            "it out, or send a larger one.",
        )


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
