"""Pretrains the estimator of noise curves that comes with Patina.

    python -m training.estimator.pretrain_noise PHOTOS --store FOLDER --minutes 3   (several times)
    python -m training.estimator.pretrain_noise PHOTOS --store FOLDER --fit

PHOTOS is a folder of clean, sharp photos (collect_photos.py). The first command simulates photos for some minutes and
adds them to the folder FOLDER, so several processes may work at the same time, and a fit can be repeated. An eighth of
the photos is held out for validation. A quarter of the scenes are drawings of shapes, lines and text: labels, charts
and barcodes have steep edges and even colors that no landscape has.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from models.geometry import centered_kernel_size, conv_strided
from models.jpeg import NO_JPEG, compress
from training.data.camera_noise import draw_cameras, expose
from training.data.photos import Photos, sample_patches
from training.data.simulation import photometric_augment, random_kernels
from training.estimator.network import get_features
from training.estimator.noise_curve import (
    STEPS,
    WEIGHTS_FILE,
    NoiseCurve,
    NoiseCurveEstimator,
    measure_steps,
    save_noise_curve_estimator,
)
from training.estimator.spectra import WINDOW

CROPS_PER_PHOTO, CROP = 8, 48  # CROP is a side in low-resolution pixels
SCALES = (4, 3, 2, 2)  # to draw from
SIM_BATCH = 12  # photos simulated in one batch
CHUNK = 40  # batches in one file
SIGMAS = (0.3, 16.0)  # range of the noise std, in 8-bit levels
REUSED = 6  # times that blurred patches are photographed, each time with other noise; blurring takes longest
DRAWINGS, DRAWING_SIDE = 96, 720
BATCH = 256  # photos in an update
WINDOWS_PER_UPDATE = (8, 16, 32)  # of each photo, in turn; with all of them in each, it would memorize the photos
LEARNING_RATE = 2e-3


def draw_scene(seed: int) -> NDArray[np.uint8]:
    """Draws shapes, lines and text of random colors over a gradient, (720, 720, 3)."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, DRAWING_SIDE)[:, None, None] * np.ones((1, DRAWING_SIDE, 1))
    first, second = rng.uniform(0, 255, (2, 3))
    second = first + (second - first) * rng.uniform(0, 1)
    image = Image.fromarray((first + ramp * (second - first)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    gray = rng.random() < 0.3

    def color() -> tuple[int, int, int]:
        values = rng.integers(0, 256, 3)
        return (int(values[0]),) * 3 if gray else (int(values[0]), int(values[1]), int(values[2]))

    for _ in range(int(rng.integers(5, 60))):
        x, y = rng.integers(-100, DRAWING_SIDE, 2)
        size = float(np.exp(rng.uniform(np.log(8), np.log(400))))
        kind = rng.integers(0, 5)
        if kind == 0:
            draw.rectangle((x, y, x + size, y + size * rng.uniform(0.2, 1)), fill=color())
        elif kind == 1:
            draw.ellipse((x, y, x + size, y + size * rng.uniform(0.4, 1)), fill=color())
        elif kind == 2:
            corners = rng.uniform(0, size, (int(rng.integers(3, 7)), 2))
            draw.polygon([(float(x + a), float(y + b)) for a, b in corners], fill=color())
        elif kind == 3:
            word = "".join(chr(code) for code in rng.integers(48, 123, int(rng.integers(3, 20))))
            draw.text((x, y), word, fill=color(), font=ImageFont.load_default(min(120.0, 8 + size / 3)))
        else:  # stripes, as of barcodes and fabric
            width, fill = max(2.0, size / 20), color()
            for index in range(int(rng.integers(4, 16))):
                draw.rectangle((x + 2 * width * index, y, x + 2 * width * index + width, y + size), fill=fill)
    return np.asarray(image.rotate(float(rng.uniform(0, 90)), fillcolor=color()))


@torch.no_grad()
def blurred_patches(photos: Photos, indices: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws 12 groups of blurred patches, (96, 3, 48, 48) in [0, 1], and their kernels' power responses (12, bins)."""
    scale = SCALES[int(torch.randint(len(SCALES), (), generator=generator))]
    size = centered_kernel_size(scale)
    patches = sample_patches(
        photos,
        SIM_BATCH * CROPS_PER_PHOTO,
        CROP * scale,
        generator,
        crops_per_photo=CROPS_PER_PHOTO,
        margin=((size - scale) // 2,) * 2,
        indices=[index for index in indices if min(photos.shapes[index]) >= CROP * scale + size],
    )
    kernel = random_kernels(SIM_BATCH, size, scale, generator)
    response = get_features(scale).spectra.kernel_power_response(kernel, scale)
    return conv_strided(patches / 255, kernel.repeat_interleave(CROPS_PER_PHOTO, 0), scale), response


@torch.no_grad()
def simulate(blurred: Tensor, response: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Photographs blurred patches (96, 3, 48, 48) with random cameras.

    `response` (12, bins) is their kernels' power response. Returns features (12, W, F), targets (12, T) and the power
    response (12, bins) of kernel and camera together.
    """
    features, photos = get_features(4), SIM_BATCH
    if torch.rand((), generator=generator) < 0.7:
        blurred = photometric_augment(blurred, CROPS_PER_PHOTO, generator)
    low, high = (math.log(sigma) for sigma in SIGMAS)
    sigma = (torch.rand(photos, generator=generator) * (high - low) + low).exp()
    cameras = draw_cameras(photos, sigma, generator)
    images = 255 * blurred.view(photos, CROPS_PER_PHOTO, *blurred.shape[1:])
    noisy, steps = expose(cameras, images, torch.tensor(STEPS).view(-1, 1, 1, 1), generator)
    quality = (30 + 65 * torch.rand(photos, generator=generator)).round()
    quality = quality.where(torch.rand(photos, generator=generator) < 0.4, torch.tensor(float(NO_JPEG)))

    def store(taken: Tensor) -> Tensor:
        """Rounds and compresses photos (12, n, 3, h, w)."""
        rounded = taken.clamp(0, 255).round().flatten(0, 1)
        return compress(rounded, quality.repeat_interleave(taken.shape[1])).view(taken.shape)

    bin_radius = features.spectra.radius.flatten() @ features.spectra.bin_weights
    response = response * cameras.power_response(bin_radius)
    windows = features.window_features(
        store(noisy).flatten(0, 1), quality.repeat_interleave(CROPS_PER_PHOTO), CROPS_PER_PHOTO
    )
    curve = measure_steps(features, store(steps[..., :WINDOW, :WINDOW]), cameras.edge_gain.view(-1, 1))
    return windows.half(), curve.concat(), response


def simulate_chunk(photos: Photos, indices: list[int], seed: int, path: Path) -> None:
    """Simulates 480 photos and writes them to `path`."""
    generator, parts = torch.Generator().manual_seed(seed), []
    patches = response = torch.empty(0)
    for batch in range(CHUNK):
        if batch % REUSED == 0:
            patches, response = blurred_patches(photos, indices, generator)
        parts.append(simulate(patches, response, generator))
    names = "features", "targets", "power_response"
    save_file(dict(zip(names, (torch.cat(tensors) for tensors in zip(*parts, strict=True)), strict=True)), path)


def fit(
    features: Tensor, targets: Tensor, val_features: Tensor, val_targets: Tensor, updates: int
) -> NoiseCurveEstimator:
    """Trains an estimator. Prints its loss on the validation photos ten times."""
    torch.manual_seed(0)
    estimator = NoiseCurveEstimator()
    estimator.fit_normalization(features[:5000].float(), targets[:5000])
    optimizer = torch.optim.AdamW(estimator.parameters(), weight_decay=1e-2, fused=True)
    for step in range(updates):
        progress = step / updates
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 20 * progress + 0.02) * (1 + math.cos(math.pi * progress)) / 2
        chosen = torch.randint(len(features), (BATCH,))
        windows = torch.randperm(features.shape[1])[: WINDOWS_PER_UPDATE[step % len(WINDOWS_PER_UPDATE)]]
        batch = features[chosen][:, windows].float()
        loss = functional.smooth_l1_loss(estimator.predict(batch), estimator.normalize(targets[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, updates // 10) == 0:
            with torch.no_grad():
                predicted = NoiseCurve.split(estimator.predict(val_features.float()))
                wanted = NoiseCurve.split(estimator.normalize(val_targets))
                errors = [(a - b).abs().mean().item() for a, b in zip(predicted, wanted, strict=True)]
            print(f"{step + 1} updates: loss {loss.item():.4f}, validation errors {errors}", flush=True)
    return estimator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--store", type=Path, required=True, help="folder of simulated photos; 10 kB each")
    parser.add_argument("--minutes", type=float, default=3, help="of simulation")
    parser.add_argument("--fit", action="store_true", help="fit to what was simulated, instead of simulating more")
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.store.mkdir(parents=True, exist_ok=True)
    if options.fit:
        sets = []
        for kind in ("train", "val"):
            chunks = [load_file(path) for path in sorted(options.store.glob(f"{kind}-*.safetensors"))]
            sets += [torch.cat([chunk[name] for chunk in chunks]) for name in ("features", "targets")]
        print(f"{len(sets[0])} photos, {len(sets[2])} for validation")
        save_noise_curve_estimator(fit(*sets, options.updates), options.out)
        return
    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png", ".webp"})
    with tempfile.TemporaryDirectory() as name:
        scenes = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        photos = Photos.write(Path(name), [*scenes, *(draw_scene(seed) for seed in range(DRAWINGS))])
        val = list(range(0, len(photos), 8))
        train = [index for index in range(len(photos)) if index % 8]
        started = time.monotonic()
        while time.monotonic() - started < 60 * options.minutes:
            seed = int.from_bytes(os.urandom(4), "big")
            kind = "val" if len(list(options.store.glob("val-*"))) < 4 else "train"
            simulate_chunk(
                photos, val if kind == "val" else train, seed, options.store / f"{kind}-{seed:08x}.safetensors"
            )


if __name__ == "__main__":
    main()
