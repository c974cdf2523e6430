"""`patina demo`: the whole workflow over HTTP; all files end up in one folder."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from config.cpus import usable_cpus
from patina.archive import ManifestLine
from patina.client import Client, Job
from patina.client.progress import track_progress
from patina.demo.camera import Camera, CameraPhoto
from patina.demo.measure import psnr
from patina.demo.photographs import load_photographs, load_picture, split_halves
from patina.demo.scorecard import Comparison, compare, render_scorecard
from patina.demo.sheet import PropertySamples, Restoration, SheetData, Triplet, contact_sheet
from patina.local.session import temporary_service
from patina.sheet.page import Picture

PHOTOS_EACH = 8  # camera photos of each photograph, each with its own blur and noise
SAMPLES = 8  # triplets sampled for each clean photograph
PUBLISHABLE = ("astronaut", "cat", "coffee")  # free for any use, so they appear on the contact sheet
SEED = 0


@dataclass(frozen=True)
class PhotoSets:
    """The demo's photos. Camera photos come from one half of each photograph; the other half stays clean."""

    camera: Camera
    camera_photos: dict[str, list[CameraPhoto]]
    truth: dict[str, Picture]  # the half that the camera photographed; nobody uploads it
    clean: dict[str, Picture]  # the other half


def run(console: Console, out: Path, minutes: float) -> None:
    """Runs the demo: take photos, train for `minutes`, degrade, super-resolve and score."""
    started = time.monotonic()
    photos = take_photos(Camera(), np.random.default_rng(SEED))
    folders = save_photos(photos, out)
    console.print(
        f"A simulated camera with known blur and noise took {PHOTOS_EACH} photos of one half of "
        f"{len(photos.clean)} photographs. Patina gets only these photos and the other halves, clean."
    )
    with temporary_service(out / "data", embedded=True) as url, Client(url) as patina:
        console.print(f"Service at {url}, API documentation at {url}/docs", highlight=False)
        dataset = patina.datasets.create("demo", photos.camera.scale)
        for role, title in (("lr", "Uploading real photos"), ("hr", "Uploading clean photos")):
            with track_progress(console, title) as tracker:
                dataset.upload(role, folders[role], progress=tracker.show_count)
        training = dataset.train(max_minutes=minutes, seed=SEED)
        _wait(console, training, "Learning the camera")
        job = dataset.degrade(source=dataset.id, samples=SAMPLES, seed=SEED)
        _wait(console, job, "Generating triplets")
        triplets = job.download(out / "triplets")
        job = dataset.sr(folders["sr"])
        _wait(console, job, "Super-resolving real photos")
        restored = job.download(out / "super-resolved")
    with _show_status(console, "Comparing with the ground truth"):
        comparison = compare(photos.camera, photos.clean, out / "triplets", triplets)
        restorations = _load_restorations(photos, out / "super-resolved", restored)
        data = _collect_sheet_data(photos, comparison, out / "triplets", triplets, restorations, minutes)
        contact_sheet(data).save(out / "contact-sheet.png")
    console.print(render_scorecard(comparison, restorations))
    _print_next_steps(console, out, time.monotonic() - started)


def take_photos(camera: Camera, rng: np.random.Generator) -> PhotoSets:
    camera_photos: dict[str, list[CameraPhoto]] = {}
    truth: dict[str, Picture] = {}
    clean: dict[str, Picture] = {}
    for number, (name, photograph) in enumerate(load_photographs().items()):
        left, right = split_halves(photograph)
        truth[name], clean[name] = (left, right) if number % 2 == 0 else (right, left)
        camera_photos[name] = [camera.shoot(truth[name], rng) for _ in range(PHOTOS_EACH)]
    return PhotoSets(camera, camera_photos, truth, clean)


def save_photos(photos: PhotoSets, out: Path) -> dict[str, Path]:
    """Saves the photos as files. Returns the folders "lr", "hr" and "sr" (to be super-resolved at the end)."""
    folders = {"lr": out / "real-photos", "hr": out / "clean-photos", "sr": out / "to-super-resolve"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name, camera_photos in photos.camera_photos.items():
        for number, photo in enumerate(camera_photos):
            Image.fromarray(photo.lr).save(folders["lr"] / f"{name}-{number}.png")
        Image.fromarray(camera_photos[0].lr).save(folders["sr"] / f"{name}.png")
        Image.fromarray(photos.clean[name]).save(folders["hr"] / f"{name}.png")
    return folders


def _wait(console: Console, job: Job, title: str) -> None:
    with track_progress(console, title) as tracker:
        job.wait(tracker.show_job)


@contextmanager
def _show_status(console: Console, title: str) -> Iterator[None]:
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        console.print(title)
        yield


def _load_restorations(photos: PhotoSets, folder: Path, lines: Sequence[ManifestLine]) -> dict[str, Restoration]:
    scale = photos.camera.scale
    restorations: dict[str, Restoration] = {}
    for line in lines:
        name = Path(line["source"]).stem
        lr = photos.camera_photos[name][0].lr
        height, width = lr.shape[0] * scale, lr.shape[1] * scale
        bicubic = np.asarray(Image.fromarray(lr).resize((width, height), Image.Resampling.BICUBIC))
        restored, truth = load_picture(folder / line["sr"]), photos.truth[name][:height, :width]
        qualities = [psnr(picture, truth, border=scale) for picture in (bicubic, restored)]
        restorations[name] = Restoration(bicubic, restored, truth, *qualities)
    return restorations


def _collect_sheet_data(
    photos: PhotoSets,
    comparison: Comparison,
    folder: Path,
    lines: Sequence[ManifestLine],
    restorations: dict[str, Restoration],
    minutes: float,
) -> SheetData:
    rng = np.random.default_rng(SEED + 1)
    kernels = [np.load(folder / line["kernel"]) for line in lines]
    step = max(1, len(kernels) // 10)
    first_lines = {Path(line["source"]).stem: line for line in reversed(lines)}
    return SheetData(
        summary=f"A camera's degradation, learned in {minutes:g} min on {usable_cpus()} CPU cores.",
        real=[photos.camera_photos[name][1].lr for name in (*PUBLISHABLE, "rocket")],
        clean=[photos.clean[name] for name in ("rocket", *reversed(PUBLISHABLE))],
        triplets=[
            _load_triplet(photos, name, folder, first_lines[name], photos.camera.shoot(photos.clean[name], rng).lr)
            for name in PUBLISHABLE
        ],
        true_kernels=[_pad_kernel(photos.camera.sample_kernel(rng), kernels[0].shape) for _ in range(10)],
        learned_kernels=kernels[::step][:10],
        properties=[
            PropertySamples(score.title, score.unit, score.truth, score.learned) for score in comparison.properties
        ],
        restorations=[_crop_to_detail(restorations[name]) for name in PUBLISHABLE[:2]],
    )


def _load_triplet(photos: PhotoSets, name: str, folder: Path, line: ManifestLine, camera_lr: Picture) -> Triplet:
    noise: NDArray[np.floating] = np.load(folder / line["noise"])
    kernel: NDArray[np.floating] = np.load(folder / line["kernel"])
    return Triplet(photos.clean[name], load_picture(folder / line["lr"]), kernel, noise, camera_lr)


def _pad_kernel(kernel: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """Pads a kernel to the learned kernels' shape, so that widths can be compared by eye."""
    margins = [(max(0, target - side) // 2,) * 2 for target, side in zip(shape, kernel.shape, strict=True)]
    return np.pad(kernel, margins)


def _crop_to_detail(restoration: Restoration, width: int = 192, height: int = 144) -> Restoration:
    """Crops to the window with most detail, small enough to see the difference."""
    detail = np.abs(np.diff(restoration.truth.astype(np.float64).mean(axis=2), axis=1))
    rows, columns = restoration.truth.shape[0] - height, restoration.truth.shape[1] - width
    top, left = max(
        ((y, x) for y in range(0, rows + 1, 8) for x in range(0, columns + 1, 8)),
        key=lambda corner: float(detail[corner[0] : corner[0] + height, corner[1] : corner[1] + width].mean()),
    )
    window = slice(top, top + height), slice(left, left + width)
    return Restoration(
        restoration.bicubic[window],
        restoration.restored[window],
        restoration.truth[window],
        restoration.bicubic_psnr,
        restoration.restored_psnr,
    )


def _print_next_steps(console: Console, out: Path, seconds: float) -> None:
    folder = _shorten(out)
    # The commands can be pasted: the virtual environment is rarely activated.
    program = "patina" if shutil.which("patina") else _shorten(Path(sys.executable).parent / "patina")
    console.print(
        f"\nDone in {seconds / 60:.1f} minutes. Open [bold]{folder / 'contact-sheet.png'}[/]", highlight=False
    )
    console.print(
        f"The triplets are in {folder / 'triplets'}, the super-resolved photos in {folder / 'super-resolved'}.\n\n"
        "With your own photos:\n"
        f"  {program} train MY_LOW_QUALITY_PHOTOS --hr MY_CLEAN_PHOTOS --minutes 60\n"
        f"  {program} degrade MY_CLEAN_PHOTOS --samples 4\n"
        f"  {program} sr MY_LOW_QUALITY_PHOTOS",
        highlight=False,
    )


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
