"""`patina demo`: the main job from beginning to end, over HTTP, with everything that it makes kept in one folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from patina.client import Client
from patina.client.archive import Manifest
from patina.client.flow import Sync
from patina.client.jobs import Job
from patina.client.progress import tracking
from patina.demo.camera import Camera, Shot
from patina.demo.measure import psnr
from patina.demo.photographs import halves, load, photographs
from patina.demo.scorecard import Comparison, compare, verdict
from patina.demo.sheet import Restoration, Spread, Story, Triplet, contact_sheet
from patina.local.session import started
from patina.sheet.page import Picture

SHOTS = 8  # of each photograph, each with a blur and noise of its own
SAMPLES = 8  # triplets drawn from each clean photograph
SHOWN = ("astronaut", "cat", "coffee")  # on the contact sheet; free for any use
SEED = 0


@dataclass(frozen=True)
class Material:
    """What the demo photographs and what it keeps clean."""

    camera: Camera
    shots: dict[str, list[Shot]]  # of one half of each photograph
    photographed: dict[str, Picture]  # that half itself: the truth that nobody uploads
    clean: dict[str, Picture]  # the other half


def run(console: Console, out: Path, minutes: float) -> None:
    began = time.monotonic()
    material = take_photos(Camera(), np.random.default_rng(SEED))
    folders = write(material, out)
    console.print(
        f"A pretend camera photographed one half of {len(material.clean)} photographs, {SHOTS} times each, with blur "
        "and noise of its own. Patina is now given these photos, and the other halves clean; nothing else."
    )
    with started(out / "data", embedded=True) as url, Client(url) as patina:
        console.print(f"Service at {url}, its page of documentation at {url}/docs", highlight=False)
        dataset = patina.datasets.create("demo", material.camera.scale)
        for role, title in (("lr", "Uploading real photos"), ("hr", "Uploading clean photos")):
            with tracking(console, title) as tracker:
                dataset.upload(role, folders[role], progress=tracker.count)
        training = dataset.train(max_minutes=minutes, seed=SEED)
        _finish(console, training, "Learning the camera")
        job = dataset.degrade(source=dataset.id, samples=SAMPLES, seed=SEED)
        _finish(console, job, "Making triplets")
        triplets = job.download(out / "triplets")
        job = dataset.sr(folders["sr"])
        _finish(console, job, "Super-resolving real photos")
        restored = job.download(out / "super-resolved")
    with _telling(console, "Comparing with the truth"):
        comparison = compare(material.camera, material.clean, out / "triplets", triplets)
        restorations = _restorations(material, out / "super-resolved", restored)
        story = _tell(material, comparison, out / "triplets", triplets, restorations, minutes)
        contact_sheet(story).save(out / "contact-sheet.png")
    console.print(verdict(comparison, restorations))
    _show_the_way(console, out, time.monotonic() - began)


def take_photos(camera: Camera, rng: np.random.Generator) -> Material:
    shots: dict[str, list[Shot]] = {}
    photographed: dict[str, Picture] = {}
    clean: dict[str, Picture] = {}
    for number, (name, photograph) in enumerate(photographs().items()):
        left, right = halves(photograph)
        photographed[name], clean[name] = (left, right) if number % 2 == 0 else (right, left)
        shots[name] = [camera.shoot(photographed[name], rng) for _ in range(SHOTS)]
    return Material(camera, shots, photographed, clean)


def write(material: Material, out: Path) -> dict[str, Path]:
    """The photos as files, as a user would have them; `sr` are those that are enlarged at the end."""
    folders = {"lr": out / "real-photos", "hr": out / "clean-photos", "sr": out / "to-super-resolve"}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for name, shots in material.shots.items():
        for number, shot in enumerate(shots):
            Image.fromarray(shot.lr).save(folders["lr"] / f"{name}-{number}.png")
        Image.fromarray(shots[0].lr).save(folders["sr"] / f"{name}.png")
        Image.fromarray(material.clean[name]).save(folders["hr"] / f"{name}.png")
    return folders


def _finish(console: Console, job: Job[Sync], title: str) -> None:
    with tracking(console, title) as tracker:
        job.wait(tracker.job)


@contextmanager
def _telling(console: Console, title: str) -> Iterator[None]:
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        console.print(title)
        yield


def _restorations(material: Material, folder: Path, lines: Sequence[Manifest]) -> dict[str, Restoration]:
    scale = material.camera.scale
    found: dict[str, Restoration] = {}
    for line in lines:
        name = Path(line["source"]).stem
        lr = material.shots[name][0].lr
        height, width = lr.shape[0] * scale, lr.shape[1] * scale
        bicubic = np.asarray(Image.fromarray(lr).resize((width, height), Image.Resampling.BICUBIC))
        restored, truth = load(folder / line["sr"]), material.photographed[name][:height, :width]
        quality = [psnr(picture, truth, border=scale) for picture in (bicubic, restored)]
        found[name] = Restoration(bicubic, restored, truth, *quality)
    return found


def _tell(
    material: Material,
    comparison: Comparison,
    folder: Path,
    lines: Sequence[Manifest],
    restorations: dict[str, Restoration],
    minutes: float,
) -> Story:
    rng = np.random.default_rng(SEED + 1)
    kernels = [np.load(folder / line["kernel"]) for line in lines]
    step = max(1, len(kernels) // 10)
    first = {Path(line["source"]).stem: line for line in reversed(lines)}
    return Story(
        summary=f"Learned how one camera wears photos down, in {minutes:g} min on {os.cpu_count()} CPU cores.",
        real=[material.shots[name][1].lr for name in (*SHOWN, "rocket")],
        clean=[material.clean[name] for name in ("rocket", *reversed(SHOWN))],
        triplets=[
            _triplet(material, name, folder, first[name], material.camera.shoot(material.clean[name], rng).lr)
            for name in SHOWN
        ],
        true_kernels=[_framed(material.camera.draw_kernel(rng), kernels[0].shape) for _ in range(10)],
        learned_kernels=kernels[::step][:10],
        spreads=[Spread(row.title, row.unit, row.truth, row.learned) for row in comparison.shown],
        restorations=[_cropped(restorations[name]) for name in SHOWN[:2]],
    )


def _triplet(material: Material, name: str, folder: Path, line: Manifest, camera_lr: Picture) -> Triplet:
    noise: NDArray[np.floating] = np.load(folder / line["noise"])
    kernel: NDArray[np.floating] = np.load(folder / line["kernel"])
    return Triplet(material.clean[name], load(folder / line["lr"]), kernel, noise, camera_lr)


def _framed(kernel: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.floating]:
    """In a window of the learned kernels' size, so that widths can be compared by eye."""
    margins = [(max(0, wanted - given) // 2,) * 2 for wanted, given in zip(shape, kernel.shape, strict=True)]
    return np.pad(kernel, margins)


def _cropped(case: Restoration, width: int = 192, height: int = 144) -> Restoration:
    """Where most is to be seen, near enough to see the difference."""
    detail = np.abs(np.diff(case.truth.astype(np.float64).mean(axis=2), axis=1))
    rows, columns = case.truth.shape[0] - height, case.truth.shape[1] - width
    top, left = max(
        ((y, x) for y in range(0, rows + 1, 8) for x in range(0, columns + 1, 8)),
        key=lambda at: float(detail[at[0] : at[0] + height, at[1] : at[1] + width].mean()),
    )
    window = slice(top, top + height), slice(left, left + width)
    return Restoration(
        case.bicubic[window], case.restored[window], case.truth[window], case.bicubic_psnr, case.restored_psnr
    )


def _show_the_way(console: Console, out: Path, seconds: float) -> None:
    here = _from_here(out)
    console.print(
        f"\nDone in {seconds / 60:.1f} minutes. Look at [bold]{here / 'contact-sheet.png'}[/]", highlight=False
    )
    console.print(
        f"The triplets are in {here / 'triplets'}, the enlarged photos in {here / 'super-resolved'}.\n\n"
        "With photos of your own:\n"
        "  patina train MY_LOW_QUALITY_PHOTOS --hr MY_CLEAN_PHOTOS --minutes 60\n"
        "  patina degrade MY_CLEAN_PHOTOS --samples 4\n"
        "  patina sr MY_LOW_QUALITY_PHOTOS",
        highlight=False,
    )


def _from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
