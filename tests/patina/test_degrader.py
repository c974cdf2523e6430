"""A trained model without a service generates what the service generates."""

from __future__ import annotations

import hashlib
import json
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from models.checkpoint import CheckpointError
from models.fixed_point import FIXED_POINT_SCALE
from patina import Degrader, seeded_generator
from patina.client import Client
from tests.support.local_service import TrainedModel

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def degrader(trained: TrainedModel) -> Degrader:
    return Degrader.load(trained.degrader)


@pytest.fixture(scope="module")
def triplets(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triplets")
    with Client(trained.url) as patina:
        patina.jobs.get(trained.job).download(folder)
    return folder


def read_pixels(file: Path) -> NDArray[np.uint8]:
    return np.array(Image.open(file))


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_triplets_equal_the_services_to_the_last_bit(trained: TrainedModel, degrader: Degrader, triplets: Path) -> None:
    lines = read_manifest(triplets)
    assert len(lines) == 4
    for line in lines:
        source = trained.hr / line["source"]
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        triplet = degrader.triplet(read_pixels(source), seed=7, source_sha256=digest, sample=line["sample"])
        np.testing.assert_array_equal(triplet.lr, read_pixels(triplets / line["lr"]))
        np.testing.assert_array_equal(triplet.kernel, np.load(triplets / line["kernel"]))
        np.testing.assert_array_equal(triplet.noise, np.load(triplets / line["noise"]))
        assert (degrader.scale, list(degrader.kernel_origin)) == (line["scale"], line["kernel_origin"])


def test_triplets_of_crops_equal_the_services_to_the_last_bit(
    trained: TrainedModel, degrader: Degrader, tmp_path: Path
) -> None:
    with Client(trained.url) as patina:
        dataset = patina.datasets.get(trained.dataset)
        dataset.degrade(trained.hr, seed=7, crop=64, crop_step=64, model=trained.model).wait().download(tmp_path)
    lines = read_manifest(tmp_path)
    assert len({tuple(line["crop"]) for line in lines}) > 1
    for line in lines:
        top, left, height, width = line["crop"]
        hr = read_pixels(trained.hr / line["source"])[top : top + height, left : left + width]
        generator = seeded_generator(7, "/".join(map(str, (line["source_sha256"], *line["crop"]))), line["sample"])
        triplet = degrader.triplet(
            hr, seed=7, source_sha256=line["source_sha256"], sample=line["sample"], crop=line["crop"]
        )
        np.testing.assert_array_equal(triplet.lr, read_pixels(tmp_path / line["lr"]))
        np.testing.assert_array_equal(triplet.noise, np.load(tmp_path / line["noise"]))
        kernel = degrader(to_tensor(hr), generator=generator).kernel
        np.testing.assert_allclose(kernel, triplet.kernel, atol=1 / FIXED_POINT_SCALE)


def test_the_services_generator_gives_the_services_sample(
    trained: TrainedModel, degrader: Degrader, triplets: Path
) -> None:
    for line in read_manifest(triplets):
        source = trained.hr / line["source"]
        hr = to_tensor(read_pixels(source))
        degraded = degrader(hr, generator=seeded_generator(7, line["source_sha256"], line["sample"]))
        expected = to_tensor(read_pixels(triplets / line["lr"]))
        # JPEG may move a whole block by a level or two, after one pixel on the edge of rounding.
        difference = (255 * degraded.lr - expected).abs()
        assert difference.mean() < 0.02
        assert difference.max() < 8
        np.testing.assert_allclose(degraded.kernel, np.load(triplets / line["kernel"]), atol=1 / FIXED_POINT_SCALE)


def test_each_image_of_a_batch_gets_its_own_draw(degrader: Degrader) -> None:
    hr = torch.rand(1, 3, 66, 49, generator=torch.Generator().manual_seed(0)).repeat(3, 1, 1, 1)
    lr, kernel, noise = degrader(hr, generator=torch.Generator().manual_seed(1))
    assert lr.shape == (3, 3, 16, 12)
    assert kernel.shape[0] == 3
    assert (lr - noise).shape == lr.shape
    assert ((255 * lr) % 1).abs().max() < 1e-3
    assert 0 <= lr.min() <= lr.max() <= 1
    assert not torch.equal(lr[0], lr[1])
    again = degrader((255 * hr).round().byte(), generator=torch.Generator().manual_seed(1))
    assert (again.lr - lr).abs().max() < 0.05


def test_it_stays_frozen_inside_a_module_that_is_trained(degrader: Degrader) -> None:
    holder = nn.ModuleList([degrader]).train()
    hr = torch.rand(2, 3, 32, 32, requires_grad=True)
    torch.manual_seed(3)
    first = degrader(hr).lr
    torch.manual_seed(3)
    with torch.autocast("cpu"):
        second = degrader(hr).lr
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in holder.parameters())
    assert not degrader.degradation.training


def test_a_pickled_degrader_gives_the_same_output(degrader: Degrader) -> None:
    sent: Degrader = pickle.loads(pickle.dumps(degrader))
    hr = torch.rand(3, 40, 40)
    assert torch.equal(
        sent(hr, generator=seeded_generator(0, 1, 2)).lr, degrader(hr, generator=seeded_generator(0, 1, 2)).lr
    )


@pytest.mark.parametrize("shape", [(40, 40), (40, 40, 3), (1, 4, 40, 40), (3, 3, 40)])
def test_other_shapes_are_refused(degrader: Degrader, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image"):
        degrader(torch.rand(shape))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(CheckpointError, match=r"notes\.txt"):
        Degrader.load(tmp_path / "notes.txt")
    with pytest.raises(OSError, match="nowhere"):
        Degrader.load(tmp_path / "nowhere.safetensors")


def test_the_example_trains_the_same_with_any_workers(trained: TrainedModel, degrader: Degrader) -> None:
    example = runpy.run_path(str(EXAMPLES / "train_on_the_fly.py"))
    photos = sorted(trained.hr.iterdir())
    networks = [example["train"](degrader, photos, steps=20, batch=4, workers=workers, seed=0) for workers in (0, 2)]
    weights = [parameters_to_vector(network.parameters()) for network in networks]
    assert torch.equal(*weights)

    torch.manual_seed(0)
    untrained = example["SmallNetwork"](degrader.scale)
    pairs = example["Pairs"](photos, degrader, 16, seed=1)
    lr, hr = (torch.stack(images) for images in zip(*(pairs[index] for index in range(16)), strict=True))
    with torch.no_grad():
        before, after = ((network(lr) - hr).abs().mean() for network in (untrained, networks[0]))
    assert after < 0.95 * before
