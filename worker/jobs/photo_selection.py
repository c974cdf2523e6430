"""Chooses the photos that a training uses, by what the checks of photos found."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from imaging.photo_findings import LEFT_OUT, Finding
from imaging.photo_sets import CheckedPhoto, add_repeats, find_left_out, find_mixtures
from store.db.tables import Image
from store.photo_checks import check_photos, to_checked_photo
from store.repositories.datasets import DatasetRepository
from store.store import Store
from worker.runtime.outcome import JobFailedError

OFF, WARN, LEAVE_OUT = "off", "warn", "leave_out"  # values of a training's field `photo_checks`
MAX_NAMED = 50  # photos of a role that the log names

ROLE_NAMES = {"lr": "real", "hr": "clean"}

log = structlog.get_logger()


@dataclass(frozen=True)
class PhotoSelection:
    """The photos of a role that are used, in order; those of them that are framed by bars; and what was found."""

    images: list[Image]
    framed: set[str] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)  # photos, by code
    warnings: dict[str, int] = field(default_factory=dict)

    def to_report(self) -> dict[str, Any]:
        return {"used": len(self.images), "left_out": self.left_out, "warnings": self.warnings}


def select_photos(
    store: Store,
    dataset_id: str,
    mode: str,
    stop: threading.Event,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, PhotoSelection]:
    """Returns what to use of each role, after checking photos that were not checked yet. The log names the others.

    Raises `JobFailedError` if no photo of a role is left.
    """
    if mode != OFF:
        check_photos(store, store.decoders, dataset_id, stop=stop, on_progress=on_progress)
    with store.database.read() as session:
        images = DatasetRepository(session).list_images(dataset_id)
    by_role = {role: [image for image in images if image.role == role] for role in ROLE_NAMES}
    if mode == OFF:
        return {role: PhotoSelection(images) for role, images in by_role.items()}
    photos = add_repeats([to_checked_photo(image) for image in images])
    for mixture in find_mixtures(photos):
        log.warning(mixture.message, code=mixture.code)
    checked = {photo.key: photo for photo in photos}
    return {role: _select(role, images, checked, mode) for role, images in by_role.items()}


def _select(role: str, images: Sequence[Image], checked: dict[str, CheckedPhoto], mode: str) -> PhotoSelection:
    findings = {image.id: checked[image.id].findings for image in images}
    out = find_left_out(findings) if mode == LEAVE_OUT else set()
    used = [image for image in images if image.id not in out]
    left_out = Counter(_reason(findings[key]).code for key in out)
    warnings = Counter(finding.code for image in used for finding in findings[image.id])
    for image in [image for image in images if findings[image.id]][:MAX_NAMED]:
        _log_findings(role, image, findings[image.id], image.id in out)
    if images and not used:
        counts = ", ".join(f"{count} {code}" for code, count in left_out.items())
        raise JobFailedError(
            "photos_unusable",
            f"No {ROLE_NAMES[role]} photo is left of {len(images)} ({counts}). Add others, or train with the setting "
            "`photo_checks: warn`, which uses all.",
        )
    framed = {image.id for image in used if any(finding.code == "black_bars" for finding in findings[image.id])}
    return PhotoSelection(used, framed if mode == LEAVE_OUT else set(), dict(left_out), dict(warnings))


def _reason(findings: Sequence[Finding]) -> Finding:
    return next(finding for finding in findings if finding.severity == LEFT_OUT)


def _log_findings(role: str, image: Image, findings: Sequence[Finding], is_left_out: bool) -> None:
    codes = ", ".join(finding.code for finding in findings)
    message = " ".join(finding.message for finding in findings)
    event = "photo left out" if is_left_out else "photo doubtful"
    log.warning(event, role=role, image=image.id, name=image.name, code=codes, reason=message)
