"""A dataset for training loops in PyTorch: crops of clean photos, each degraded as the learned camera would do it.

`DegradedPairs` stands in for BasicSR's `RealESRGANDataset` and the `feed_data` of Real-ESRGAN's models: it yields `lq`
and `gt`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from imaging.image_files import read_rgb
from imaging.rejections import ImageRejected
from models.degradation import Latents
from models.geometry import reflect_indices
from patina.degrader import Degrader, seeded_generator

Pair = dict[str, Any]


class PhotoFile(NamedTuple):
    path: Path
    key: str  # relative to the folder; seeds the photo's random numbers


class DegradedPairs(Dataset[Pair]):
    """Pairs from the clean photos of a folder and its sub-folders.

    Item `index` is crop `index // len(self)` of photo `index % len(self)`: any index from 0 on is valid, and with the
    seed it alone decides the pair, in any worker and batch. `PairSampler` draws such indices without end.

    An item has `gt` (3, crop, crop) and `lq` (3, crop / scale, crop / scale), float32 in [0, 1] on 8-bit levels, RGB,
    and `gt_path`. With `batched`, workers only cut crops, and `feed_data` degrades whole batches on the degrader's
    device, such as a GPU. The pairs are the same, except for pixels on the edge of rounding.

    `crop` is a multiple of the scale, in pixels of the clean photos. Photos that are smaller, and files that are no
    photos, are left out with a warning; `left_out` names them. `augment` flips and rotates the clean crops at random.
    Raises ValueError for another `crop`, and if no photo is left.
    """

    def __init__(
        self,
        folder: str | Path,
        degrader: Degrader,
        *,
        crop: int = 256,
        seed: int = 0,
        augment: bool = True,
        batched: bool = False,
    ) -> None:
        if crop < 1 or crop % degrader.scale:
            raise ValueError(f"crop is a multiple of the scale {degrader.scale}, not {crop}")
        if not batched and _device_of(degrader).type != "cpu":
            raise ValueError("workers degrade on the CPU; use batched=True and feed_data for a degrader on a GPU")
        self.degrader, self.scale, self.crop = degrader, degrader.scale, crop
        self.seed, self.augment, self.batched = seed, augment, batched
        # Pixels that a kernel reaches before and after a crop.
        self.before = -degrader.kernel_origin[0]
        self.after = degrader.degradation.config.kernel.size - degrader.scale - self.before
        self.photos, self.left_out = _find_photos(Path(folder), crop)
        if not self.photos:
            raise ValueError(f"no photo in {folder} is {crop} pixels wide and high")
        if self.left_out:
            count, first = len(self.left_out), self.left_out[0]
            warnings.warn(f"{count} files are left out: no photos of {crop} × {crop} pixels, as {first}", stacklevel=2)
        # In shared memory, so that workers that outlive an epoch see it.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Returns the number of photos."""
        return len(self.photos)

    def set_epoch(self, epoch: int) -> None:
        """Makes indices below `len(self)` new crops in each epoch, for a `DataLoader` with its own sampler."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> Pair:
        """Returns a pair; with `batched`, what `feed_data` makes one of."""
        photo, sample = self._locate(index)
        window = torch.from_numpy(self._cut(photo, sample)).permute(2, 0, 1).contiguous()  # (3, …) uint8
        item: Pair = {"gt_path": str(photo.path)}
        if self.batched:
            return item | {"window": window, "index": index + len(self) * int(self._epoch)}
        gt, lq = self._degrade(window[None], [self._draw_latents(photo, sample)])
        return item | {"gt": gt[0], "lq": lq[0]}

    def feed_data(self, batch: Mapping[str, Any]) -> Pair:
        """Degrades a batch of a `batched` dataset on the degrader's device. Returns `gt`, `lq` and `gt_path`."""
        photos = [self._locate_absolute(int(index)) for index in batch["index"]]
        latents = [self._draw_latents(photo, sample) for photo, sample in photos]
        gt, lq = self._degrade(batch["window"].to(_device_of(self.degrader), non_blocking=True), latents)
        return {"gt_path": batch["gt_path"], "gt": gt, "lq": lq}

    def __getstate__(self) -> dict[str, Any]:
        # The workers of a batched dataset need no degrader, and could not receive one on a GPU.
        return self.__dict__ | ({"degrader": None} if self.batched else {})

    def _locate(self, index: int) -> tuple[PhotoFile, int]:
        if index < 0:
            raise IndexError(index)
        return self._locate_absolute(index + len(self) * int(self._epoch))

    def _locate_absolute(self, index: int) -> tuple[PhotoFile, int]:
        sample, photo = divmod(index, len(self))
        return self.photos[photo], sample

    def _cut(self, photo: PhotoFile, sample: int) -> NDArray[np.uint8]:
        """Cuts a random crop with the pixels around it that a kernel reaches, (side, side, 3)."""
        generator = seeded_generator(self.seed, f"crop/{photo.key}", sample)
        try:
            pixels = read_rgb(photo.path)
        except ImageRejected as error:
            raise ValueError(f"{photo.path}: {error}") from error
        reach = max(self.before, self.after)
        # The opaque part of a photo may be smaller than the photo, and is then reflected.
        starts = [_randint(max(1, length - self.crop + 1), generator) - reach for length in pixels.shape[:2]]
        rows, cols = (
            reflect_indices(start, self.crop + 2 * reach, length).numpy()
            for start, length in zip(starts, pixels.shape[:2], strict=True)
        )
        crop = pixels[np.ix_(rows, cols)]
        if self.augment:
            crop = np.rot90(crop, _randint(4, generator))
            crop = crop[:, ::-1] if _randint(2, generator) else crop
        inside = slice(reach - self.before, reach + self.crop + self.after)
        return np.ascontiguousarray(crop[inside, inside])

    def _draw_latents(self, photo: PhotoFile, sample: int) -> Latents:
        generator, side = seeded_generator(self.seed, photo.key, sample), self.crop // self.scale
        return self.degrader.degradation.draw_latents(1, (side, side), generator)

    def _degrade(self, windows: Tensor, latents: list[Latents]) -> tuple[Tensor, Tensor]:
        """Returns gt and lq (B, 3, …) for windows (B, 3, …) uint8."""
        images = windows.float() / 255
        drawn = Latents(*(torch.cat(parts) for parts in zip(*latents, strict=True)))
        inside = slice(self.before, self.before + self.crop)
        gt = images[:, :, inside, inside].contiguous()
        return gt, self.degrader.degrade(images, drawn, padded_input=True).lr


class PairSampler(Sampler[int]):
    """Draws the indices of `DegradedPairs` without end: in each round every photo once, shuffled, with a new crop.

    To resume, pass the number of pairs consumed as `start`: the steps done times the batch size. Loaders read ahead, so
    the sampler cannot know it. With several processes, each passes its `rank` and their number `num_replicas`; `start`
    then counts the pairs of one process.
    """

    def __init__(
        self, pairs: DegradedPairs, *, seed: int = 0, start: int = 0, rank: int = 0, num_replicas: int = 1
    ) -> None:
        self.photos, self.seed, self.start = len(pairs), seed, start
        self.rank, self.num_replicas = rank, num_replicas

    def __iter__(self) -> Iterator[int]:
        position, shuffled_round, order = self.start * self.num_replicas + self.rank, -1, torch.empty(0)
        while True:
            round_number, place = divmod(position, self.photos)
            if round_number != shuffled_round:
                generator = seeded_generator(self.seed, "order", round_number)
                shuffled_round, order = round_number, torch.randperm(self.photos, generator=generator)
            yield round_number * self.photos + int(order[place])
            position += self.num_replicas


def _find_photos(folder: Path, side: int) -> tuple[list[PhotoFile], list[Path]]:
    """Returns the photos that a crop of `side` fits into, and the other files."""
    photos, left_out = list[PhotoFile](), list[Path]()
    for path in sorted(file for file in folder.rglob("*") if file.is_file()):
        try:
            with Image.open(path) as photo:
                fits = min(photo.size) >= side
        except (OSError, Image.DecompressionBombError):
            fits = False
        if fits:
            photos.append(PhotoFile(path, path.relative_to(folder).as_posix()))
        else:
            left_out.append(path)
    return photos, left_out


def _device_of(degrader: Degrader) -> torch.device:
    return next(degrader.parameters()).device


def _randint(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
