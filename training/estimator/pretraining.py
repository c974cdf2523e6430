"""Pretrains the estimator that comes with Patina, on other photos with random degradations.

    python -m training.estimator.pretraining PHOTOS

PHOTOS is a folder of clean, sharp photos with as many subjects as possible (collect_photos.py finds 228 in packages).
How much the content misleads the estimator depends on their number, and hardly on how often each is degraded. An eighth
of them is held out for validation. It takes about an hour on two cores. docs/method.md says which photos the shipped
weights were trained on.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from models.geometry import centered_kernel_size, conv_strided
from models.jpeg import NO_JPEG, compress
from training.data.photos import Photos, sample_patches
from training.data.simulation import photometric_augment, random_kernels, random_noise
from training.estimator.network import (
    WEIGHTS_FILE,
    DegradationEstimator,
    DegradationTargets,
    get_features,
    save_estimator,
)

CROPS_PER_PHOTO, CROP = 8, 48  # CROP is a side in low-resolution pixels
SCALES = (4, 4, 3, 2)  # to draw from; in low-resolution pixels they differ little
SIM_BATCH, TASK_SIZE = 12, 504  # photos simulated in one batch, and by one task of a process at most
BATCH = 1024  # photos in an update
WINDOWS_PER_UPDATE = (6, 12, 32)  # of each photo, in turn; with all of them in each, it would memorize the photos
LEARNING_RATE = 2e-3


class Examples(NamedTuple):
    features: Tensor  # (N, W, F) float16
    kernel_spectrum: Tensor  # targets, see DegradationTargets
    noise_amplitude: Tensor
    brightness_slope: Tensor

    @property
    def targets(self) -> DegradationTargets:
        return DegradationTargets(self.kernel_spectrum, self.noise_amplitude, self.brightness_slope)


@torch.no_grad()
def simulate(folder: Path, indices: list[int], num_photos: int, seed: int) -> Examples:
    """Degrades `num_photos` random photos of those at `indices`. Returns their features and targets."""
    torch.set_num_threads(1)
    photos, generator, parts = Photos(folder), torch.Generator().manual_seed(seed), []

    def bernoulli(probability: float, size: int) -> Tensor:
        return torch.rand(size, generator=generator) < probability

    for _ in range(max(1, num_photos // SIM_BATCH)):
        scale = SCALES[int(torch.randint(len(SCALES), (), generator=generator))]
        features, size = get_features(scale), centered_kernel_size(scale)
        large_enough = [index for index in indices if min(photos.shapes[index]) >= CROP * scale]
        patches = sample_patches(
            photos,
            SIM_BATCH * CROPS_PER_PHOTO,
            CROP * scale,
            generator,
            crops_per_photo=CROPS_PER_PHOTO,
            margin=((size - scale) // 2,) * 2,
            indices=large_enough,
        )
        kernel = random_kernels(SIM_BATCH, size, scale, generator)
        blurred = conv_strided(patches / 255, kernel.repeat_interleave(CROPS_PER_PHOTO, 0), scale)
        if bernoulli(0.7, 1):
            blurred = photometric_augment(blurred, CROPS_PER_PHOTO, generator)
        blurred = 255 * blurred
        noisy = (blurred + random_noise(blurred, CROPS_PER_PHOTO, generator)).clamp(0, 255).round()
        quality = (30 + 65 * torch.rand(SIM_BATCH, generator=generator)).round()
        quality = quality.where(bernoulli(0.4, SIM_BATCH), torch.tensor(float(NO_JPEG)))
        quality = quality.repeat_interleave(CROPS_PER_PHOTO)
        lr = compress(noisy, quality)
        windows = features.window_features(lr, quality, CROPS_PER_PHOTO).half()
        noise_targets = features.noise_targets(lr - blurred, blurred, CROPS_PER_PHOTO)
        parts.append(Examples(windows, features.kernel_targets(kernel), *noise_targets))
    return concat_examples(parts)


def concat_examples(parts: list[Examples]) -> Examples:
    return Examples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def fit(examples: Examples, val: Examples, updates: int, device: str) -> DegradationEstimator:
    """Trains an estimator on `device`. Prints its loss on `val` twenty times."""
    examples, val = (Examples(*(tensor.to(device) for tensor in part)) for part in (examples, val))
    torch.manual_seed(0)
    estimator = DegradationEstimator().to(device)
    first = Examples(*(tensor[:20_000] for tensor in examples))
    estimator.fit_normalization(first.features.float(), first.targets)
    optimizer = torch.optim.AdamW(estimator.parameters(), weight_decay=1e-2, fused=True)
    for step in range(updates):
        progress = step / updates
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 20 * progress + 0.02) * (1 + math.cos(math.pi * progress)) / 2
        chosen = torch.randint(len(examples.features), (BATCH,), device=device)
        num_windows = WINDOWS_PER_UPDATE[step % len(WINDOWS_PER_UPDATE)]
        windows = torch.randperm(examples.features.shape[1], device=device)[:num_windows]
        batch = Examples(examples.features[chosen][:, windows], *(part[chosen] for part in examples.targets))
        optimizer.zero_grad()
        compute_loss(estimator, batch).backward()
        optimizer.step()
        if (step + 1) % max(1, updates // 20) == 0:
            with torch.no_grad():
                print(f"{step + 1} updates: validation loss {compute_loss(estimator, val):.4f}", flush=True)
    return estimator.cpu()


def compute_loss(estimator: DegradationEstimator, examples: Examples) -> Tensor:
    predicted = estimator(examples.features.float())
    return functional.smooth_l1_loss(predicted.concat(), estimator.normalize_targets(examples.targets).concat())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--simulated", type=int, default=100_000, help="photos to train on; 10 kB of memory each")
    parser.add_argument("--updates", type=int, default=12_500)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FILE)
    options = parser.parse_args()
    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png", ".webp"})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(os.cpu_count()) as processes:
        folder = Path(name)
        photos = Photos.write(folder, (np.asarray(Image.open(path).convert("RGB")) for path in paths))
        val_indices = list(range(0, len(photos), 8))
        train_indices = [index for index in range(len(photos)) if index not in val_indices]
        seeds, sets = count(), []
        for indices, num_photos in ((train_indices, options.simulated), (val_indices, options.simulated // 16)):
            size = min(TASK_SIZE, num_photos)
            tasks = [
                processes.submit(simulate, folder, indices, size, next(seeds)) for _ in range(-(-num_photos // size))
            ]
            sets.append(concat_examples([task.result() for task in tasks]))
    examples, val = sets
    save_estimator(fit(examples, val, options.updates, device), options.out)


if __name__ == "__main__":
    main()
