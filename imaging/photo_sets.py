"""What is said about the photos of a dataset together: which repeat each other, stay out, or are of another kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from imaging.photo_findings import (
    LEFT_OUT,
    REPEATED_PHOTO_BITS,
    SAME_PHOTO_BITS,
    Finding,
    HashIndex,
)

# Shares of the real photos between which two kinds of them are a mixture.
MIXED = (0.1, 0.9)
MIXED_QUALITIES = 25  # of JPEG, between the 10th and 90th percentiles
MAX_COMPARED = 20_000  # photos whose hashes are compared; more would keep a request waiting


@dataclass(frozen=True)
class CheckedPhoto:
    """A photo with its own findings. `quality` is its file's JPEG quality; None if it has none or is unknown."""

    key: str
    role: str
    name: str
    sha256: str
    perceptual_hash: str
    findings: tuple[Finding, ...]
    is_jpeg: bool = False
    quality: int | None = None


@dataclass(frozen=True)
class Mixture:
    """Something that divides the real photos into kinds. The message says what to do."""

    code: str
    message: str


def add_repeats(photos: Sequence[CheckedPhoto]) -> list[CheckedPhoto]:
    """Returns the photos with findings for those that are in both roles, or repeat an earlier one of their role.

    The same bytes are the same photo; photos that look the same are, too, unless there are more than MAX_COMPARED.
    """
    compare_hashes = len(photos) <= MAX_COMPARED
    contents = {role: {photo.sha256 for photo in photos if photo.role == role} for role in ("lr", "hr")}
    hashes = {role: HashIndex(SAME_PHOTO_BITS) for role in ("lr", "hr")}
    if compare_hashes:
        for photo in photos:
            hashes[photo.role].add(photo.perceptual_hash, photo.key)
    earlier = {role: (set[str](), HashIndex(REPEATED_PHOTO_BITS)) for role in ("lr", "hr")}
    result = []
    for photo in photos:
        findings = list(photo.findings)
        other = "hr" if photo.role == "lr" else "lr"
        if photo.sha256 in contents[other] or hashes[other].find(photo.perceptual_hash):
            findings.append(Finding("real_and_clean"))
        same_bytes, same_hashes = earlier[photo.role]
        if photo.sha256 in same_bytes or (compare_hashes and same_hashes.find(photo.perceptual_hash)):
            findings.append(Finding("duplicate"))
        else:
            same_bytes.add(photo.sha256)
            if compare_hashes:
                same_hashes.add(photo.perceptual_hash, photo.key)
        result.append(replace(photo, findings=tuple(findings)))
    return result


def find_left_out(photos: Mapping[str, Sequence[Finding]], total: int | None = None) -> set[str]:
    """Returns the keys of the photos that a training leaves out, given the findings of all photos of a role.

    If photos without findings are missing, `total` is the number of all.

    What most photos of a role have in common belongs to the device, and they stay. Flat photos never do.
    """
    counts = Counter(finding.code for findings in photos.values() for finding in findings)
    rare = {code for code, count in counts.items() if code == "flat" or 2 * count <= (total or len(photos))}
    return {
        key
        for key, findings in photos.items()
        if any(finding.severity == LEFT_OUT and finding.code in rare for finding in findings)
    }


def find_mixtures(photos: Iterable[CheckedPhoto]) -> list[Mixture]:
    """Returns what divides the real photos into kinds; a model describes one device best."""
    real = [photo for photo in photos if photo.role == "lr"]
    if not real:
        return []
    mixtures = []
    gray = sum(any(finding.code == "gray" for finding in photo.findings) for photo in real) / len(real)
    if _is_mixed(gray):
        mixtures.append(Mixture("mixed_colors", f"{gray:.0%} of the real photos are gray. {_SEPARATE}"))
    jpeg = sum(photo.is_jpeg for photo in real) / len(real)
    if _is_mixed(jpeg):
        mixtures.append(Mixture("mixed_formats", f"{jpeg:.0%} of the real photos are JPEG files. {_SEPARATE}"))
    qualities = sorted(photo.quality for photo in real if photo.quality is not None)
    if qualities:
        low, high = (qualities[round(share * (len(qualities) - 1))] for share in (0.1, 0.9))
        if high - low > MIXED_QUALITIES:
            message = f"The JPEG qualities of the real photos range from {low} to {high}. {_SEPARATE}"
            mixtures.append(Mixture("mixed_qualities", message))
    return mixtures


_SEPARATE = "If they come from several sources, make a dataset for each."


def _is_mixed(share: float) -> bool:
    return MIXED[0] <= share <= MIXED[1]
