"""`DegradedPairs` yields what the learned camera makes of clean crops, and the same in any worker and batch."""

from __future__ import annotations

import itertools
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader

from models.checkpoint import save_degradation
from patina import Degrader
from patina.torch import DegradedPairs, PairSampler
from tests.support.model_factories import FILTERED, make_degradation

EXAMPLES = Path(__file__).parents[2] / "examples"
CROP = 32


def make_photo(height: int, width: int, blue: int) -> NDArray[np.uint8]:
    """Returns a photo whose red and green are the position of a pixel."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack([rows, cols, np.full_like(rows, blue)], 2).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.png", "b.png", "more/a.png")):
        Image.fromarray(make_photo(60 + 9 * number, 90, 40 * number)).save(folder / name)
    return folder


@pytest.mark.parametrize(("scale", "size", "centered"), [(4, 24, True), (4, 21, False), (1, 21, True)])
def test_a_pair_is_a_crop_and_its_degradation(folder: Path, scale: int, size: int, centered: bool) -> None:
    torch.manual_seed(0)
    degrader = Degrader(make_degradation(scale, None, size=size, centered=centered))
    pairs = DegradedPairs(folder, degrader, crop=CROP, augment=False)
    crops = set()
    for index in range(12):
        pair = pairs[index]
        photo = np.asarray(Image.open(pair["gt_path"]))
        gt = (255 * pair["gt"]).permute(1, 2, 0).numpy()
        top, left = gt[0, 0, :2].astype(int)
        assert (gt == photo[top : top + CROP, left : left + CROP]).all()
        crops.add((pair["gt_path"], top, left))

        # Every pixel that a kernel reaches is the photo's own, not a reflection at the crop's border.
        latents = pairs._draw_latents(*pairs._locate(index))
        kernel = degrader.degrade(pair["gt"][None], latents).kernel[0].double().numpy()
        padded = np.pad(photo.astype(np.float64), ((size, size), (size, size), (0, 0)), mode="reflect")
        first = np.array([top, left]) + size + degrader.kernel_origin
        expected = np.zeros((CROP // scale, CROP // scale, 3))
        for row, col in np.ndindex(size, size):
            y, x = first + np.array([row, col])
            expected += kernel[row, col] * padded[y : y + CROP : scale, x : x + CROP : scale][: len(expected)]
        np.testing.assert_array_equal((255 * pair["lq"]).round().permute(1, 2, 0).numpy(), expected.round())
    assert len(crops) > 6  # another crop in each round


def test_pairs_depend_on_seed_and_index_alone(folder: Path) -> None:
    torch.manual_seed(0)
    degrader = Degrader(make_degradation(4, FILTERED))
    pairs = DegradedPairs(folder, degrader, crop=CROP, seed=5)
    expected = [pairs[index] for index in range(6)]
    assert not torch.equal(expected[0]["lq"], expected[3]["lq"])
    assert not torch.equal(expected[0]["lq"], DegradedPairs(folder, degrader, crop=CROP, seed=6)[0]["lq"])

    loader = DataLoader(pairs, 3, shuffle=False, num_workers=2, persistent_workers=True)
    for epoch in range(2):
        pairs.set_epoch(epoch)  # reaches workers that exist
        (batch,) = loader
        for pair, lq, gt in zip(expected[3 * epoch :], batch["lq"], batch["gt"], strict=False):
            assert torch.equal(lq, pair["lq"])
            assert torch.equal(gt, pair["gt"])

    batched = DegradedPairs(folder, degrader, crop=CROP, seed=5, batched=True)
    (batch,) = DataLoader(batched, 6, sampler=range(6), num_workers=1)
    fed = batched.feed_data(batch)
    assert fed["gt_path"] == [pair["gt_path"] for pair in expected]
    assert torch.equal(fed["gt"], torch.stack([pair["gt"] for pair in expected]))
    difference = 255 * (fed["lq"] - torch.stack([pair["lq"] for pair in expected])).abs()
    assert (difference > 0.5).float().mean() < 1e-3  # pixels on the edge of rounding
    assert difference.max() < 1.5


def test_a_sampler_resumes_and_divides_the_photos(folder: Path) -> None:
    pairs = DegradedPairs(folder, Degrader(make_degradation(4, None)), crop=CROP)
    whole = list(itertools.islice(PairSampler(pairs, seed=1), 12))
    assert [sorted(index % 3 for index in whole[first : first + 3]) for first in range(0, 12, 3)] == 4 * [[0, 1, 2]]
    assert [index // 3 for index in whole] == [number // 3 for number in range(12)]
    assert list(itertools.islice(PairSampler(pairs, seed=1, start=5), 7)) == whole[5:]
    for rank in range(2):
        assert (
            list(itertools.islice(PairSampler(pairs, seed=1, start=1, rank=rank, num_replicas=2), 5))
            == (whole[2 + rank :: 2])
        )


def test_files_that_hold_no_crop_are_named(folder: Path, tmp_path: Path) -> None:
    degrader = Degrader(make_degradation(4, None))
    with pytest.warns(UserWarning, match="left out"):
        pairs = DegradedPairs(folder, degrader, crop=64)
    assert [path.name for path in pairs.left_out] == ["a.png"]
    photo = (folder / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(photo[: len(photo) // 2])
    with pytest.raises(ValueError, match=r"cut\.png: The image is damaged"):
        DegradedPairs(tmp_path, degrader, crop=CROP)[0]
    (tmp_path / "cut.png").unlink()
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(ValueError, match="no photo in"):
        DegradedPairs(tmp_path, degrader, crop=64)
    with pytest.raises(ValueError, match="multiple of the scale 4, not 30"):
        DegradedPairs(folder, degrader, crop=30)


@pytest.mark.parametrize("script", ["basicsr_loop.py", "diffusion_sr_loop.py", "diffusion_sr_loop.py --one-step"])
def test_examples_train(
    script: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    save_degradation(make_degradation(4, FILTERED), tmp_path / "degrader.safetensors")
    monkeypatch.chdir(tmp_path)
    name, *options = script.split()
    for steps in ("2", "4"):  # the second run of the first example resumes
        arguments = ["degrader.safetensors", str(folder), "--steps", steps, "--batch", "2", "--crop", "32"]
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--workers", "0", *options])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert f"step {steps}: " in capsys.readouterr().out
