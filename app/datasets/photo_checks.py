"""What the checks of a dataset's photos found: in lists of photos, and before a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from app.datasets.schemas import CheckedPhotoRead, FindingRead, ImageRead, MixtureRead, PhotoChecksRead, Role
from app.lookup import get_dataset_or_404
from imaging.photo_findings import Finding
from imaging.photo_sets import MAX_COMPARED, CheckedPhoto, add_repeats, find_left_out, find_mixtures
from store.db.database import Session
from store.db.tables import Image
from store.photo_checks import PIXELS_OUTSIDE_WORKERS, check_photos, to_checked_photo
from store.repositories.datasets import DatasetRepository
from store.store import Store

MAX_LISTED = 1000  # photos with findings


def check_now(store: Store, dataset_id: str, seconds: float) -> None:
    """Checks photos for about `seconds`. Others are checked in the background, and at the latest by the training."""
    check_photos(store, store.decoders, dataset_id, max_pixels=PIXELS_OUTSIDE_WORKERS, seconds=seconds)


def read_checks(store: Store, dataset_id: str) -> PhotoChecksRead:
    """Raises `ProblemError` (404) if there is no such dataset."""
    with store.database.read() as session:
        dataset, datasets = get_dataset_or_404(session, dataset_id), DatasetRepository(session)
        totals = {Role.lr: dataset.lr_images, Role.hr: dataset.hr_images}
        total, unchecked = sum(totals.values()), datasets.count_unchecked(dataset_id)
        is_small = total <= MAX_COMPARED
        images = datasets.list_images(dataset_id) if is_small else datasets.list_with_findings(dataset_id, MAX_COMPARED)
    photos = add_repeats([to_checked_photo(image) for image in images])
    by_role = {role: [photo for photo in photos if photo.role == role] for role in Role}
    left_out = {
        role: find_left_out({photo.key: photo.findings for photo in by_role[role]}, totals[role]) for role in Role
    }
    mixtures = find_mixtures(photos) if is_small else []
    return PhotoChecksRead(
        checked=total - unchecked,
        unchecked=unchecked,
        left_out={role: len(left_out[role]) for role in Role},
        findings={
            role: Counter(finding.code for photo in by_role[role] for finding in photo.findings) for role in Role
        },
        mixtures=[MixtureRead(code=mixture.code, message=mixture.message) for mixture in mixtures],
        photos=[
            _to_checked_photo_read(photo, photo.key in left_out[Role(photo.role)]) for photo in photos if photo.findings
        ][:MAX_LISTED],
    )


def to_image_reads(session: Session, images: Sequence[Image]) -> list[ImageRead]:
    """Returns images of one dataset with their findings."""
    if not images:
        return []
    in_both = DatasetRepository(session).find_in_other_role(images[0].dataset_id, images)
    return [_to_image_read(image, image.id in in_both) for image in images]


def _to_image_read(image: Image, is_in_both: bool) -> ImageRead:
    findings = [Finding.from_json(finding) for finding in image.findings or ()]
    if is_in_both:
        findings.append(Finding("real_and_clean"))
    return ImageRead(
        id=image.id,
        name=image.name,
        sha256=image.sha256,
        width=image.width,
        height=image.height,
        role=Role(image.role),
        checked=image.findings is not None,
        findings=[_to_finding_read(finding) for finding in findings],
    )


def _to_checked_photo_read(photo: CheckedPhoto, is_left_out: bool) -> CheckedPhotoRead:
    return CheckedPhotoRead(
        id=photo.key,
        name=photo.name,
        role=Role(photo.role),
        left_out=is_left_out,
        findings=[_to_finding_read(finding) for finding in photo.findings],
    )


def _to_finding_read(finding: Finding) -> FindingRead:
    return FindingRead(code=finding.code, severity=finding.severity, message=finding.message, value=finding.value)
