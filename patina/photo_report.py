"""Checks photo files before they are sent anywhere: what is usable, what is wrong, and what a training leaves out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from app.datasets.schemas import TRAINING_PATCH
from app.ingest.archive_readers import HEAD_BYTES, find_opener
from imaging.compression import FileCompression, read_compression
from imaging.decoder_pool import DecoderPool
from imaging.image_info import ImageSize
from imaging.photo_findings import jpeg_quality, judge
from imaging.photo_sets import CheckedPhoto, Mixture, add_repeats, find_left_out, find_mixtures
from imaging.rejections import ImageRejected
from imaging.signatures import identify
from patina.client.photo_files import LeftOut, NamedFile, search_photos


@dataclass(frozen=True)
class PhotoFile:
    """A file that can be used, and what its checks found."""

    path: Path
    size: ImageSize
    format_name: str
    photo: CheckedPhoto


@dataclass(frozen=True)
class UnusableFile:
    """A file that the service would reject. `code` is the service's."""

    path: Path
    code: str
    message: str


@dataclass
class RoleReport:
    """The photos of a role. `left_out` has the keys of those that a training leaves out."""

    photos: list[PhotoFile] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    unusable: list[UnusableFile] = field(default_factory=list)
    not_photos: list[LeftOut] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "usable": len(self.photos) - len(self.left_out),
            "photos": [self._to_json(file) for file in self.photos],
            "unusable": [
                {"path": str(file.path), "code": file.code, "message": file.message} for file in self.unusable
            ],
            "not_photos": [{"path": str(file.path), "reason": file.reason} for file in self.not_photos],
        }

    def count_findings(self) -> Counter[str]:
        return Counter(finding.code for file in self.photos for finding in file.photo.findings)

    def _to_json(self, file: PhotoFile) -> dict[str, Any]:
        return {
            "path": str(file.path),
            "width": file.size.width,
            "height": file.size.height,
            "format": file.format_name,
            "quality": file.photo.quality,
            "left_out": file.photo.key in self.left_out,
            "findings": [
                {**finding.to_json(), "severity": finding.severity, "message": finding.message}
                for finding in file.photo.findings
            ],
        }


@dataclass
class PhotoReport:
    roles: dict[str, RoleReport]
    mixtures: list[Mixture]

    @property
    def is_clean(self) -> bool:
        """Whether every file is a photo that a training uses; there may be warnings."""
        return not any(report.left_out or report.unusable for report in self.roles.values())

    def rename(self, restore: Callable[[Path], Path]) -> None:
        """Replaces each path by what `restore` returns for it."""
        for report in self.roles.values():
            report.photos = [replace(file, path=restore(file.path)) for file in report.photos]
            report.unusable = [replace(file, path=restore(file.path)) for file in report.unusable]

    def to_json(self) -> dict[str, Any]:
        mixtures = [{"code": mixture.code, "message": mixture.message} for mixture in self.mixtures]
        return {**{role: report.to_json() for role, report in self.roles.items()}, "mixtures": mixtures}


def check_folders(
    paths: Mapping[str, Sequence[Path]],
    scale: int,
    decoders: DecoderPool,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> PhotoReport:
    """Checks the photos at the paths of each role, `lr` and `hr`. Raises `PatinaError` if a path has none.

    `on_progress` gets the number of files that are done, and that of all.
    """
    searches = {role: search_photos(of_role) for role, of_role in paths.items() if of_role}
    files = [(role, file) for role, search in searches.items() for file in search.found]
    reports = {role: RoleReport(not_photos=search.left_out) for role, search in searches.items()}
    found: list[PhotoFile] = []
    with ThreadPoolExecutor(decoders.processes) as pool:
        outcomes = pool.map(partial(_check_file, decoders, scale), files)
        for done, ((role, _), outcome) in enumerate(zip(files, outcomes, strict=True), 1):
            if isinstance(outcome, PhotoFile):
                found.append(outcome)
            else:
                reports[role].unusable.append(outcome)
            on_progress(done, len(files))
    photos = add_repeats([file.photo for file in found])
    for file, photo in zip(found, photos, strict=True):
        reports[photo.role].photos.append(PhotoFile(file.path, file.size, file.format_name, photo))
    for report in reports.values():
        report.left_out = find_left_out({file.photo.key: file.photo.findings for file in report.photos})
    return PhotoReport(reports, find_mixtures(photos))


def _check_file(decoders: DecoderPool, scale: int, named: tuple[str, NamedFile]) -> PhotoFile | UnusableFile:
    role, (name, path) = named
    try:
        with path.open("rb") as opened:
            head = opened.read(HEAD_BYTES)
        if find_opener(head, path.name):
            return UnusableFile(path, "archive", "An archive is not opened here. Unpack it to check its photos.")
        format_name = identify(head)
        size = decoders.check(path).size
        measures = decoders.measure(path)
    except ImageRejected as error:
        return UnusableFile(path, error.code, error.message)
    except OSError as error:
        return UnusableFile(path, "unreadable_file", f"The file cannot be read: {error.strerror}.")
    minimum = TRAINING_PATCH * (scale if role == "hr" else 1)
    if min(size.width, size.height) < minimum:
        message = f"The image has {size.width}×{size.height} pixels; {minimum} per side are needed."
        return UnusableFile(path, "image_too_small", message)
    quality = _quality(read_compression(path))
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    findings = tuple(judge(measures, role, quality))
    photo = CheckedPhoto(
        f"{role}/{name}", role, name, sha256, measures.perceptual_hash, findings, format_name == "JPEG", quality
    )
    return PhotoFile(path, size, format_name, photo)


def _quality(compression: FileCompression | None) -> int | None:
    if compression is None or compression.codec != "jpeg" or not compression.tables:
        return None
    return jpeg_quality(compression.tables[0])


def format_sizes(sizes: Iterable[ImageSize]) -> str:
    """Describes the sizes: the only one, or the smallest and the largest."""
    ordered = sorted(set(sizes), key=lambda size: (size.width * size.height, size.width))
    texts = [f"{size.width}×{size.height}" for size in ordered]
    return "" if not texts else texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"
