"""Photos in a memory-mapped file, and random patches of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.compression import Compression
from training.data.photos import PhotoCompression, Photos, PhotosError, sample_patches


def ramps(folder: Path) -> Photos:
    """Each pixel encodes its position: (photo, row, column)."""
    shapes = [(40, 50), (64, 33), (20, 90)]
    return Photos.write(
        folder,
        (
            np.stack([np.full(shape, index), *np.indices(shape)], 2).astype(np.uint8)
            for index, shape in enumerate(shapes)
        ),
    )


def test_photos_are_read_back_from_their_folder(tmp_path: Path) -> None:
    written = ramps(tmp_path)
    opened = Photos(tmp_path)
    assert len(opened) == 3
    for index in range(3):
        np.testing.assert_array_equal(written[index], opened[index])
    assert opened[2].shape == (20, 90, 3)
    assert opened[1][63, 32].tolist() == [1, 63, 32]


def test_patches_lie_inside_one_photo(tmp_path: Path) -> None:
    photos = ramps(tmp_path)
    patches = sample_patches(photos, 64, 32, torch.Generator().manual_seed(0), crops_per_photo=4, augment=False)
    assert patches.shape == (64, 3, 32, 32)
    assert patches.dtype == torch.uint8
    photo = patches[:, 0].flatten(1)
    assert (photo == photo[:, :1]).all()
    assert set(photo[:, 0].tolist()) == {0, 1}  # the third is too small
    assert (photo[:, 0].view(16, 4) == photo[::4, :1]).all()
    row, column = patches[:, 1].int(), patches[:, 2].int()
    assert (row[:, 1:] - row[:, :-1] == 1).all()
    assert (column[:, :, 1:] - column[:, :, :-1] == 1).all()


def test_augmented_patches_have_all_orientations(tmp_path: Path) -> None:
    patches = sample_patches(ramps(tmp_path), 200, 32, torch.Generator().manual_seed(0)).int()
    down, right = patches[:, 1:, 1, 0] - patches[:, 1:, 0, 0], patches[:, 1:, 0, 1] - patches[:, 1:, 0, 0]
    assert len({(*first, *second) for first, second in zip(down.tolist(), right.tolist(), strict=True)}) == 8


def test_patches_start_on_the_grid(tmp_path: Path) -> None:
    photos = ramps(tmp_path)
    generator = torch.Generator().manual_seed(0)
    patches = sample_patches(photos, 100, 24, generator, augment=False, on_grid=True)
    assert set(patches[:, 1, 0, 0].tolist()) == {0, 16, 32}
    assert set(patches[:, 2, 0, 0].tolist()) == {0, 16}
    tables = (9,) * 64
    photos.compressions = [PhotoCompression(Compression(tables, tables, tables, (2, 1)), (5, 3))] * len(photos)
    patches = sample_patches(photos, 100, 24, generator, augment=False, on_grid=True)
    assert set(patches[:, 1, 0, 0].tolist()) == {5, 13, 21, 29, 37}
    assert set(patches[:, 2, 0, 0].tolist()) == {3, 19}


def test_margins_are_reflected_beyond_the_border(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path, [np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)])
    patch = sample_patches(photos, 1, 32, torch.Generator().manual_seed(0), margin=(5, 7), augment=False)[0]
    expected = np.pad(photos[0], ((5, 7), (5, 7), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(patch.permute(1, 2, 0).numpy(), expected)


def test_generator_determines_the_patches(tmp_path: Path) -> None:
    photos = ramps(tmp_path)
    first, second = (sample_patches(photos, 8, 32, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_small_photos_and_other_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="None of 3 photos is 65"):
        sample_patches(ramps(tmp_path), 1, 65, torch.Generator())
    with pytest.raises(ValueError, match="a photo is"):
        Photos.write(tmp_path, [np.zeros((4, 4), np.uint8)])
    assert len(Photos.write(tmp_path, [])) == 0
