"""How the estimator that comes with Patina learned: on photos of its own, degraded in every way.

    python -m training.estimator.pretraining PHOTOS

PHOTOS is a folder of clean, sharp photos of as many things as possible: how much the estimator errs by what a photo
shows depends on how many there are, and hardly on how often each is degraded. An eighth of them is kept to judge by. On
two cores it takes about an hour. docs/method.md says what the weights that are shipped were learned from.
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
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from models.geometry import centred_size, sample_window
from models.jpeg import UNCOMPRESSED, compress
from training.data.photos import Photos, draw_patches
from training.data.simulation import in_other_light, random_kernels, random_noise
from training.estimator.network import WEIGHTS, Estimator, statistics_of

CROPS, CROP = 8, 48  # looked at of a photo, and their side in low-resolution pixels
SCALES = (4, 4, 3, 2)  # drawn from; in low-resolution pixels they differ by little
TOGETHER, TASK = 12, 504  # photos simulated at once, and by a process before it hands them over, at most
BATCH = 1024  # photos in an update
SEEN = (6, 12, 32)  # of a photo's windows in one update, in turn: from all of them it would know the photos by heart
RATE = 2e-3


class Examples(NamedTuple):
    windows: Tensor  # (N, W, F) float16
    kernel: Tensor  # (N, kernel_targets)
    noise: Tensor  # (N, noise_targets)


@torch.no_grad()
def simulate(folder: Path, among: list[int], photos_wanted: int, seed: int) -> Examples:
    """Photos of those `among`, degraded at random: as the estimator sees them, and what it is to say of them."""
    torch.set_num_threads(1)
    photos, generator, parts = Photos(folder), torch.Generator().manual_seed(seed), []

    def some(share: float, photos: int) -> Tensor:
        return torch.rand(photos, generator=generator) < share

    for _ in range(max(1, photos_wanted // TOGETHER)):
        scale = SCALES[int(torch.randint(len(SCALES), (), generator=generator))]
        statistics, size = statistics_of(scale), centred_size(scale)
        large = [index for index in among if min(photos.shapes[index]) >= CROP * scale]
        margin = ((size - scale) // 2,) * 2
        patches = draw_patches(
            photos, TOGETHER * CROPS, CROP * scale, generator, per_photo=CROPS, margin=margin, among=large
        )
        kernel = random_kernels(TOGETHER, size, scale, generator)
        blurred = sample_window(patches / 255, kernel.repeat_interleave(CROPS, 0), scale)
        if some(0.7, 1):
            blurred = in_other_light(blurred, CROPS, generator)
        blurred = 255 * blurred
        noisy = (blurred + random_noise(blurred, CROPS, generator)).clamp(0, 255).round()
        quality = (30 + 65 * torch.rand(TOGETHER, generator=generator)).round()
        quality = quality.where(some(0.4, TOGETHER), torch.tensor(float(UNCOMPRESSED))).repeat_interleave(CROPS)
        lr = compress(noisy, quality)
        windows = statistics.windows(lr, quality, CROPS).half()
        parts.append(
            Examples(windows, statistics.of_kernels(kernel), statistics.of_noise(lr - blurred, blurred, CROPS))
        )
    return Examples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def fit(examples: Examples, judged_by: Examples, updates: int, device: str) -> Estimator:
    """An estimator that has learned from `examples`, on `device`."""
    examples, judged_by = (Examples(*(tensor.to(device) for tensor in part)) for part in (examples, judged_by))
    torch.manual_seed(0)
    estimator = Estimator().to(device)
    first = Examples(*(tensor[:20_000] for tensor in examples))
    estimator.scale_to(first.windows.float(), first.kernel, first.noise)
    optimizer = torch.optim.AdamW(estimator.parameters(), weight_decay=1e-2, fused=True)
    for step in range(updates):
        done = step / updates
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 20 * done + 0.02) * (1 + math.cos(math.pi * done)) / 2
        some = torch.randint(len(examples.kernel), (BATCH,), device=device)
        seen = torch.randperm(examples.windows.shape[1], device=device)[: SEEN[step % len(SEEN)]]
        batch = Examples(examples.windows[some][:, seen].float(), examples.kernel[some], examples.noise[some])
        optimizer.zero_grad()
        error(estimator, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % max(1, updates // 20) == 0:
            with torch.no_grad():
                print(f"{step + 1} updates: off by {error(estimator, judged_by):.4f} on other photos", flush=True)
    return estimator.cpu()


def error(estimator: Estimator, examples: Examples) -> Tensor:
    told = estimator(examples.windows.float())
    return functional.smooth_l1_loss(told, estimator.scaled(examples.kernel, examples.noise))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--simulated", type=int, default=100_000, help="photos to learn from; 10 kB of memory each")
    parser.add_argument("--updates", type=int, default=12_500)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    paths = sorted(path for path in options.photos.iterdir() if path.suffix in {".jpg", ".png", ".webp"})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(os.cpu_count()) as processes:
        folder = Path(name)
        photos = Photos.write(folder, (np.asarray(Image.open(path).convert("RGB")) for path in paths))
        kept = list(range(0, len(photos), 8))
        others = [index for index in range(len(photos)) if index not in kept]
        seeds, parts = count(), []
        for among, wanted in ((others, options.simulated), (kept, options.simulated // 16)):
            size = min(TASK, wanted)
            tasks = [processes.submit(simulate, folder, among, size, next(seeds)) for _ in range(-(-wanted // size))]
            parts.append(Examples(*(torch.cat(t) for t in zip(*(task.result() for task in tasks), strict=True))))
    examples, judged_by = parts
    estimator = fit(examples, judged_by, options.updates, device)
    save_file({name: tensor.half().contiguous() for name, tensor in estimator.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
