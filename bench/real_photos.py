"""What is learned from photos of real devices, of which nobody knows the truth: a picture to judge with one's own eyes.

    PYTHONPATH=. python bench/real_photos.py --real REAL --clean CLEAN --minutes 10 --sheet learned.png

Trains the default preset on two folders of photos, prints the report's score and alarms, and draws the contact sheet
that `patina train --sheet` draws, without any service. `--beside` mixes patches of the real photos with made ones into
a picture of its own, in an order that it prints: which are real? `--publish` draws a sheet with no photo of either
folder: it shows what becomes of the demo's photographs.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.measure import Metric, add_json_option, save_metrics
from patina import schemas
from patina.demo.photographs import load_photographs
from patina.demo.run import PUBLISHABLE
from patina.sheet.model import GalleryData, contact_sheet
from training.config import preset
from training.data.photos import Photos
from training.loop import train
from training.report.gallery import Gallery, gallery_of, grid_of
from worker.jobs.preview import COLUMNS, render_gallery

SCALE, ENLARGED = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--publish", type=Path)
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        lr, hr = (
            Photos.write(Path(folder) / role, _load(photos))
            for role, photos in (("lr", options.real), ("hr", options.clean))
        )
        recipe = preset("default", SCALE, device="cpu")
        trained = train(recipe, lr, hr, seed=options.seed, max_minutes=options.minutes)
        report = trained.report()
        gallery = gallery_of(trained.degradation, lr, hr, seed=options.seed)
        published = None
        if options.publish:
            of_demo = load_photographs()
            shown = Photos.write(Path(folder) / "shown", [of_demo[name] for name in PUBLISHABLE])
            published = gallery_of(trained.degradation, lr, shown, seed=options.seed)
    print(f"score {report.score:.2f}, told apart {report.two_sample}")
    metrics = [Metric("report score", report.score, lower_is_better=True)]
    if report.two_sample:
        metrics.append(Metric("two-sample accuracy", report.two_sample.accuracy, target=0.6, lower_is_better=True))
    save_metrics(options, metrics)
    for alarm in report.alarms:
        print(f"{alarm.severity}: {alarm.message}")
    told = schemas.Report.model_validate(dataclasses.asdict(report))
    summary = f"{options.real.name}: {report.photos.real.photos} photos, learned in {options.minutes:g} minutes."

    def learned(gallery: Gallery) -> GalleryData:
        return GalleryData.from_files(render_gallery(gallery, step=trained.steps, alarms=report.alarms))

    contact_sheet(summary, learned(gallery), told).save(options.sheet)
    if published:
        without_photos = dataclasses.replace(learned(published), real=(), generated=())
        contact_sheet(summary, without_photos, told).save(options.publish)
    if options.beside:
        print(*("real" if real else "made" for real in gallery.real))
        grid = Image.fromarray(grid_of(gallery.patches, COLUMNS).numpy())
        grid.resize((ENLARGED * grid.width, ENLARGED * grid.height), Image.Resampling.NEAREST).save(options.beside)


def _load(folder: Path) -> list[NDArray[np.uint8]]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".png"})
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


if __name__ == "__main__":
    main()
