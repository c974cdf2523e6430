"""Trains a small super-resolution network on photos that are degraded while it trains.

    python examples/train_on_the_fly.py degrader.safetensors my-clean-photos

The file is a model's `degrader.safetensors`, from GET /models/{id}/files/degrader.safetensors. Every crop gets its own
blur and noise, in the DataLoader's workers. The same seed gives the same crops and draws with any number of workers.
On a GPU it may be faster to degrade whole batches there: `degrader.to("cuda")(hr)`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from patina import Degrader, seeded_generator

PATCH = 32  # side of a low-resolution crop


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Crops of clean photos, each with the same crop as the camera would show it: (lr, hr)."""

    def __init__(self, photos: list[Path], degrader: Degrader, length: int, seed: int) -> None:
        self.photos, self.degrader, self.length, self.seed = photos, degrader, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        generator = seeded_generator(self.seed, "crop", index)
        with Image.open(self.photos[index % len(self.photos)]) as photo:
            pixels = torch.from_numpy(np.array(photo.convert("RGB"))).permute(2, 0, 1)
        side = PATCH * self.degrader.scale
        top, left = (int(torch.randint(size - side + 1, (), generator=generator)) for size in pixels.shape[1:])
        hr = pixels[:, top : top + side, left : left + side] / 255
        return self.degrader(hr, generator=generator).lr, hr


class SmallNetwork(nn.Module):
    """Adds details to a bicubic enlargement."""

    def __init__(self, scale: int, width: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.details = nn.Sequential(
            *(nn.Conv2d(3, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()),
            nn.Conv2d(width, 3 * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, lr: Tensor) -> Tensor:
        """Enlarges lr (B, 3, h, w) to (B, 3, s·h, s·w), both in [0, 1]."""
        bicubic = functional.interpolate(lr, scale_factor=float(self.scale), mode="bicubic")
        return bicubic + 0.1 * self.details(lr)  # type: ignore[no-any-return]


def train(degrader: Degrader, photos: list[Path], *, steps: int, batch: int, workers: int, seed: int) -> SmallNetwork:
    torch.manual_seed(seed)
    pairs = DataLoader(Pairs(photos, degrader, steps * batch, seed), batch, num_workers=workers)
    network = SmallNetwork(degrader.scale)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    losses: list[float] = []
    for step, (lr, hr) in enumerate(pairs, start=1):
        loss = functional.l1_loss(network(lr), hr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            print(f"step {step}: mean error {255 * sum(losses[-100:]) / len(losses[-100:]):.2f} levels")
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("degrader", type=Path, help="a model's degrader.safetensors")
    parser.add_argument("photos", type=Path, help="folder of clean photos (PNG)")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = sorted(options.photos.rglob("*.png"))
    degrader = Degrader.load(options.degrader)
    train(degrader, photos, steps=options.steps, batch=options.batch, workers=options.workers, seed=options.seed)


if __name__ == "__main__":
    main()
