"""Banks of compressions: drawn as often as photos have them, applied as single ones are, and stored with a model."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image
from skimage import data

from imaging.compression import FileCompression
from models.checkpoint import load_degradation, save_degradation
from models.compression import (
    CODECS,
    Compression,
    CompressionBank,
    MissingEncoder,
    nearest_quality,
    require_encoders,
    standard_compression,
)
from models.degradation import Degradation, DegradationConfig
from models.inference.triplet import degrade_image
from models.jpeg import compress
from models.networks.kernel import KernelConfig
from training.data.compressions import describe_file

OWN = Compression((12,) * 64, (20,) * 64, (24,) * 64, (2, 1), count=3)
BANK = (standard_compression(60), Compression(count=2), OWN)
KERNEL = KernelConfig(size=8, width=8)


def test_each_is_drawn_as_often_as_photos_have_it() -> None:
    drawn = CompressionBank(BANK).draw(6000, torch.Generator().manual_seed(0))
    counts = Counter(drawn.tolist())
    assert [round(counts[index] / 1000) for index in range(3)] == [1, 2, 3]
    assert CompressionBank(()).draw(4, torch.Generator()).tolist() == [0] * 4


def test_a_batch_is_compressed_as_each_image_alone() -> None:
    bank, images = CompressionBank(BANK), 255 * torch.rand(4, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([2, 0, 1, 2])
    compressed = bank(images, index)
    for number in range(4):
        alone = bank(images[number : number + 1], index[number : number + 1])
        assert (compressed[number] - alone[0]).abs().mean() < 0.01
    assert torch.equal(compressed[2], images[2])
    assert (compressed[1] - compress(images[1:2], torch.tensor([60.0]))[0]).abs().mean() < 0.01
    assert bank.is_lossy(index).tolist() == [True, True, False, True]
    assert bank.unit == (16, 16)


@pytest.mark.parametrize("quality", [5, 30, 50, 75, 92, 98, 100])
def test_standard_tables_have_their_quality(quality: int) -> None:
    assert nearest_quality(standard_compression(quality)) == quality


def test_models_keep_their_bank_and_old_ones_their_qualities(tmp_path: Path) -> None:
    hr = np.random.default_rng(0).integers(0, 256, (80, 112, 3), dtype=np.uint8)
    config = DegradationConfig(2, KERNEL, None, jpeg_qualities=(60, 60, 100))
    old = Degradation(config).eval()
    new = Degradation(replace(config, jpeg_qualities=(), compressions=BANK)).eval()
    for model in (old, new):
        save_degradation(model, tmp_path / "model")
        loaded = load_degradation(tmp_path / "model")
        assert loaded.config == model.config
        for sample in range(4):
            first, second = (degrade_image(each, hr, seed=0, seed_key="a", sample=sample) for each in (model, loaded))
            np.testing.assert_array_equal(first.lr, second.lr)


@pytest.mark.parametrize(
    ("codec", "options"),
    [("webp", {}), ("avif", {"speed": 10}), ("heic", {"enc_params": {"preset": "veryfast"}})],
)
def test_a_codec_is_its_encoder_with_a_straight_gradient(codec: str, options: dict[str, Any]) -> None:
    bank = CompressionBank((Compression(codec=codec, quality=40), OWN))
    pixels = np.asarray(Image.fromarray(data.chelsea()).resize((120, 90)))
    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, CODECS[codec], quality=40, **options)
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().repeat(2, 1, 1, 1).requires_grad_()
    compressed = bank(images, torch.tensor([0, 1]))
    np.testing.assert_array_equal(compressed[0].permute(1, 2, 0).detach().numpy(), expected)
    (gradient,) = torch.autograd.grad(compressed[0].sum(), images)
    assert (gradient[0] == 1).all()
    assert bank.is_lossy(torch.tensor([0, 1])).tolist() == [True, True]
    assert bank.get_quality(torch.tensor([0])).item() == 40


def test_without_its_encoder_heic_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.compression.find_spec", lambda _: None)
    heic = Compression(codec="heic", quality=40)
    assert describe_file(FileCompression("heic", quality=40), 90, 120) is None
    with pytest.raises(MissingEncoder, match=r"pip install 'patina\[heic\]'"):
        CompressionBank((heic,))(torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    with pytest.raises(MissingEncoder):
        require_encoders((OWN, heic))
    require_encoders(BANK)


def test_bands_of_a_tall_image_join_at_every_sampling() -> None:
    tall = Compression((30,) * 64, (60,) * 64, (60,) * 64, (1, 4))
    model = Degradation(DegradationConfig(1, KERNEL, None, compressions=(tall,))).eval()
    hr = np.random.default_rng(0).integers(0, 256, (1500, 64, 3), dtype=np.uint8)
    triplet = degrade_image(model, hr, seed=0, seed_key="a", sample=0)
    rows = torch.from_numpy(triplet.lr).permute(2, 0, 1)[None].float()
    assert (model.compression(rows, torch.tensor([0])) - rows).abs().mean() < 1.5  # compressed already, as a whole


@pytest.mark.parametrize(
    "wrong", [{"codec": "jxl"}, {"luma": (1,) * 63}, {"sampling": (0, 1)}, {"count": 0}, {"cb": (0,) * 64}]
)
def test_impossible_compressions_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"table|sampling|counts|codec"):
        replace(OWN, **wrong)  # type: ignore[arg-type]
