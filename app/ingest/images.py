"""From the files of a request to the images that are taken and those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

from app.http.problems import ProblemError
from app.http.schemas import RejectedFile
from app.ingest.archives import Allowance, ArchiveRejectedError, detect_archive, unpack
from app.ingest.files import ReceivedFile, too_large
from config.settings import Settings
from imaging.decoder_pool import Decoders
from imaging.image_files import ImageRefusedError, ImageSize
from store.repositories.datasets import NewImage
from store.store import Store

FLUSHED_AT_ONCE = 8  # a disk takes several in the time that it takes one


@dataclass(frozen=True)
class MinimumSide:
    """The shortest side that an image may have, in pixels, and what needs it."""

    pixels: int
    reason: str


@dataclass(frozen=True)
class _GoodFile:
    file: ReceivedFile
    size: ImageSize


def ingest_images(
    files: Sequence[ReceivedFile],
    folder: Path,
    store: Store,
    settings: Settings,
    minimum: MinimumSide,
    require: Callable[[Sequence[tuple[int, int]]], None] = lambda _: None,
) -> tuple[list[NewImage], list[RejectedFile]]:
    """Keeps every good image as a blob; archives are opened. Raises `ProblemError` where no image is good.

    None becomes a blob before all have been looked at, so that a request that is refused leaves none behind; `require`
    is then shown the (height, width) of each, and may raise.
    """
    allowance = Allowance(settings.max_files - len(files), settings.max_archive_bytes, store.room)
    try:
        checked = _check_all(files, folder, store, settings, minimum, allowance)
        good = [file for file in checked if isinstance(file, _GoodFile)]
        rejected = [file for file in checked if isinstance(file, RejectedFile)]
        if not good:
            raise _nothing_taken(rejected)
        require([(file.size.height, file.size.width) for file in good])
        with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:
            taken = list(pool.map(partial(_adopt, store), good))
        store.blobs.settle()
        return taken, rejected
    finally:
        store.room.release(allowance.claimed)


def _check_all(
    files: Sequence[ReceivedFile],
    folder: Path,
    store: Store,
    settings: Settings,
    minimum: MinimumSide,
    allowance: Allowance,
) -> list[_GoodFile | RejectedFile]:
    check = partial(_checked, store.decoders, settings, minimum)
    with ThreadPoolExecutor(store.decoders.processes) as pool:
        try:
            return list(pool.map(check, _members(files, folder, settings, allowance)))
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise


def _checked(
    decoders: Decoders, settings: Settings, minimum: MinimumSide, file: ReceivedFile | RejectedFile
) -> _GoodFile | RejectedFile:
    if isinstance(file, RejectedFile):
        return file
    try:
        return _GoodFile(file, _check(file, decoders, settings, minimum))
    except ImageRefusedError as error:
        file.path.unlink()
        return RejectedFile(name=file.name, code=error.code, message=error.message)


def _adopt(store: Store, good: _GoodFile) -> NewImage:
    file, size = good.file, good.size
    store.room.keep(file.path.stat().st_size)
    return NewImage(file.name, store.blobs.adopt(file.path, file.sha256), size.width, size.height)


def _members(
    files: Sequence[ReceivedFile], folder: Path, settings: Settings, allowance: Allowance
) -> Iterator[ReceivedFile | RejectedFile]:
    for file in files:
        opener = detect_archive(file)
        if opener is None:
            yield file
            continue
        try:
            yield from unpack(file, opener, folder, settings, allowance)
        except ArchiveRejectedError as error:
            yield RejectedFile(name=file.name, code=error.code, message=error.message)
        file.path.unlink()


def _check(file: ReceivedFile, decoders: Decoders, settings: Settings, minimum: MinimumSide) -> ImageSize:
    if file.path.stat().st_size > settings.max_file_bytes:
        raise ImageRefusedError("file_too_large", too_large(settings.max_file_bytes))
    size = file.looked_at.result() if file.looked_at else decoders.check(file.path)
    if min(size.width, size.height) < minimum.pixels:
        raise ImageRefusedError(
            "image_too_small",
            f"The image has {size.width}×{size.height} pixels; {minimum.reason} needs at least {minimum.pixels} a "
            "side. Leave it out, or send a larger one.",
        )
    return size


def _nothing_taken(rejected: list[RejectedFile]) -> ProblemError:
    if not rejected:
        return ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no_files",
            "The request holds no files. Send images or archives of images as parts named 'files'.",
        )
    codes = {file.code for file in rejected}
    first = rejected[0]
    more = f" So it is with all {len(rejected)} files." if len(rejected) > 1 and len(codes) == 1 else ""
    if len(codes) > 1:
        more = f" None of the {len(rejected)} files was taken; `rejected` says why for each."
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        codes.pop() if len(codes) == 1 else "no_image_taken",
        f"{first.name}: {first.message}{more}",
        rejected=[file.model_dump() for file in rejected],
    )
