"""From the files of a request to the images that are taken and those that are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from app.problems import ProblemError
from app.schemas import RejectedFile
from app.uploads.archives import ArchiveRefusedError, is_archive, too_large, unpack
from app.uploads.multipart import ReceivedFile
from config.settings import Settings
from store.blobs import Blobs
from store.datasets import NewImage
from store.image_files import ImageRefusedError, check_image


@dataclass(frozen=True)
class MinimumSide:
    """The shortest side that an image may have, in pixels, and what needs it."""

    pixels: int
    reason: str


def take_images(
    files: Iterable[ReceivedFile], folder: Path, blobs: Blobs, settings: Settings, minimum: MinimumSide
) -> tuple[list[NewImage], list[RejectedFile]]:
    """Keeps every good image as a blob; archives are opened. Raises `ProblemError` where no image is good."""
    taken: list[NewImage] = []
    rejected: list[RejectedFile] = []
    for file in _members(files, folder, settings):
        if isinstance(file, RejectedFile):
            rejected.append(file)
            continue
        try:
            taken.append(_take(file, blobs, settings, minimum))
        except ImageRefusedError as error:
            rejected.append(RejectedFile(name=file.name, code=error.code, message=error.message))
    if not taken:
        raise _nothing_taken(rejected)
    return taken, rejected


def _members(files: Iterable[ReceivedFile], folder: Path, settings: Settings) -> Iterator[ReceivedFile | RejectedFile]:
    for file in files:
        if not is_archive(file):
            yield file
            continue
        try:
            for member in unpack(file, folder, settings):
                if isinstance(member, ReceivedFile) and is_archive(member):
                    message = "An archive inside an archive is not opened. Pack the images themselves."
                    yield RejectedFile(name=member.name, code="nested_archive", message=message)
                else:
                    yield member
        except ArchiveRefusedError as error:
            yield RejectedFile(name=file.name, code=error.code, message=error.message)


def _take(file: ReceivedFile, blobs: Blobs, settings: Settings, minimum: MinimumSide) -> NewImage:
    if file.path.stat().st_size > settings.max_file_bytes:
        raise ImageRefusedError("file_too_large", too_large(settings.max_file_bytes))
    size = check_image(file.path, max_pixels=settings.max_image_pixels)
    if min(size.width, size.height) < minimum.pixels:
        raise ImageRefusedError(
            "image_too_small",
            f"The image has {size.width}×{size.height} pixels; {minimum.reason} needs at least {minimum.pixels} a "
            "side. Leave it out, or send a larger one.",
        )
    return NewImage(file.name, blobs.adopt(file.path, file.sha256), size.width, size.height)


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
