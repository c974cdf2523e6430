"""What is learned from photos of real devices, of which nobody knows the truth: a picture to judge with one's own eyes.

    PYTHONPATH=. python bench/real_photos.py --real REAL --clean CLEAN --minutes 10 --sheet learned.png

Trains the default preset on two folders of photos, prints the report's score and alarms, and draws a sheet: kernels,
and photographs that a package ships beside what the degradation makes of them. `--beside` mixes patches of the real
photos with made ones into a picture of its own, in an order that it prints: which are real?
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.triplet import Triplet, degrade_image
from patina.demo.photographs import photographs
from training.loop import Trained, train
from training.photos import Photos
from training.presets import preset

Picture = NDArray[np.uint8]
SCALE, SIDE, GAP = 4, 64, 8  # SIDE of a patch in low-resolution pixels
PAPER = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--beside", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    real, clean = (_load(folder) for folder in (options.real, options.clean))
    with tempfile.TemporaryDirectory() as folder:
        lr, hr = (Photos.write(Path(folder) / role, images) for role, images in (("lr", real), ("hr", clean)))
        recipe = preset("default", SCALE, device="cpu")
        trained = train(recipe, lr, hr, seed=options.seed, max_minutes=options.minutes)
        report = trained.report()
    print(f"score {report.score:.2f}, told apart {report.two_sample}")
    for alarm in report.alarms:
        print(f"{alarm.severity}: {alarm.message}")
    shown = list(photographs().values())[:3]  # which are free of all rights
    made = [(photo, _made(trained, photo, sample)) for photo in shown for sample in range(3)]
    _sheet(made).save(options.sheet)
    if options.beside:
        _beside(real, clean, trained, np.random.default_rng(options.seed)).save(options.beside)


def _load(folder: Path) -> list[Picture]:
    paths = sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".png"})
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def _made(trained: Trained, photo: Picture, sample: int) -> Triplet:
    digest = hashlib.sha256(photo.tobytes()).hexdigest()
    return degrade_image(trained.degradation, photo, seed=0, source_sha256=digest, sample=sample)


def _sheet(made: list[tuple[Picture, Triplet]]) -> Image.Image:
    """One column for each draw: the clean patch, what is made of it, its kernel, and its noise six times as strong."""
    columns = []
    for photo, triplet in made:
        height, width = triplet.lr.shape[:2]
        top, left = (height - SIDE) // 2, (width - SIDE) // 2
        here = slice(top, top + SIDE), slice(left, left + SIDE)
        clean = photo[SCALE * top : SCALE * (top + SIDE), SCALE * left : SCALE * (left + SIDE)]
        noise = 127.5 + 6 * 255 * np.broadcast_to(triplet.noise, triplet.lr.shape)[here]
        kernel = 255 * (1 - triplet.kernel / triplet.kernel.max())
        tiles = [clean, triplet.lr[here], np.repeat(kernel[:, :, None], 3, 2), noise.clip(0, 255)]
        columns.append(_stacked([_sized(tile) for tile in tiles], axis=0))
    return Image.fromarray(_stacked(columns, axis=1))


def _beside(real: list[Picture], clean: list[Picture], trained: Trained, rng: np.random.Generator) -> Image.Image:
    """Four rows of six patches, each real or made at the toss of a coin; prints which are real."""
    rows, truth = [], []
    for _ in range(4):
        row = []
        for _ in range(6):
            is_real = bool(rng.integers(2))
            source = (real if is_real else clean)[rng.integers(len(real if is_real else clean))]
            image = source if is_real else _made(trained, source, int(rng.integers(100))).lr
            top, left = (int(rng.integers(length - SIDE + 1)) for length in image.shape[:2])
            row.append(_sized(image[top : top + SIDE, left : left + SIDE]))
            truth.append("real" if is_real else "made")
        rows.append(_stacked(row, axis=1))
    print(*truth)
    return Image.fromarray(_stacked(rows, axis=0))


def _sized(tile: NDArray[np.generic]) -> Picture:
    """As wide as a clean patch, pixels left as pixels."""
    return np.asarray(Image.fromarray(tile.astype(np.uint8)).resize((3 * SIDE, 3 * SIDE), Image.Resampling.NEAREST))


def _stacked(tiles: list[Picture], axis: int) -> Picture:
    width = [(0, 0)] * 3
    width[axis] = (0, GAP)
    spaced = [np.pad(tile, width, constant_values=PAPER) for tile in tiles[:-1]]
    return np.concatenate([*spaced, tiles[-1]], axis=axis)


if __name__ == "__main__":
    main()
