"""Trains on photos of real devices, whose true degradation is unknown, and draws what was learned.

    python -m bench.real_photos --real REAL --clean CLEAN --minutes 10 --sheet learned.png

Trains the preset `default` on two folders of photos without a service. Prints the report's score and alarms, and draws
the contact sheet of `patina train --sheet`. `--patches` saves real and generated patches in one shuffled picture, and
prints the order. `--publish` draws a sheet that shows the demo's photographs, and none from either folder.
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
from training.data.photos import Photos
from training.loop import train
from training.presets import get_preset
from training.report.gallery import Gallery, make_gallery, make_grid
from worker.jobs.preview import COLUMNS, render_gallery

SCALE, ENLARGEMENT = 4, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--publish", type=Path)
    add_json_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        lr, hr = (
            Photos.write(Path(folder) / role, load_photos(photos))
            for role, photos in (("lr", options.real), ("hr", options.clean))
        )
        config = get_preset("default", SCALE, device="cpu")
        trained = train(config, lr, hr, seed=options.seed, max_minutes=options.minutes)
        report = trained.report()
        gallery = make_gallery(trained.degradation, lr, hr, seed=options.seed)
        published = None
        if options.publish:
            photographs = load_photographs()
            shown = Photos.write(Path(folder) / "shown", [photographs[name] for name in PUBLISHABLE])
            published = make_gallery(trained.degradation, lr, shown, seed=options.seed)
    print(f"score {report.score:.2f}, real vs. generated {report.two_sample}")
    metrics = [Metric("report score", report.score, lower_is_better=True)]
    if report.two_sample:
        metrics.append(Metric("two-sample accuracy", report.two_sample.accuracy, target=0.6, lower_is_better=True))
    save_metrics(options, metrics)
    for alarm in report.alarms:
        print(f"{alarm.severity}: {alarm.message}")
    parsed = schemas.Report.model_validate(dataclasses.asdict(report))
    summary = f"{options.real.name}: {report.photos.real.photos} photos, learned in {options.minutes:g} minutes."

    def to_data(gallery: Gallery) -> GalleryData:
        return GalleryData.from_files(render_gallery(gallery, step=trained.steps, alarms=report.alarms))

    contact_sheet(summary, to_data(gallery), parsed).save(options.sheet)
    if published:
        without_photos = dataclasses.replace(to_data(published), real=(), generated=())
        contact_sheet(summary, without_photos, parsed).save(options.publish)
    if options.patches:
        print(*("real" if real else "generated" for real in gallery.real))
        grid = Image.fromarray(make_grid(gallery.patches, COLUMNS).numpy())
        grid.resize((ENLARGEMENT * grid.width, ENLARGEMENT * grid.height), Image.Resampling.NEAREST).save(
            options.patches
        )


def load_photos(folder: Path) -> list[NDArray[np.uint8]]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".png"})
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


if __name__ == "__main__":
    main()
