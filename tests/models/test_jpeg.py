from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from models.jpeg import compress, compress_with_tables


def make_photo(height: int = 120, width: int = 100) -> NDArray[np.uint8]:
    """Blurred rectangles with a little noise, with about as much detail as a photo."""
    rng = np.random.default_rng(0)
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(80):
        top, left = rng.integers(height), rng.integers(width)
        image[top : top + rng.integers(4, 40), left : left + rng.integers(4, 40)] = rng.integers(0, 256, 3)
    soft = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.8))).astype(float)
    return np.asarray((soft + rng.normal(0, 3, soft.shape)).clip(0, 255).round(), np.uint8)


def compress_with_pillow(image: NDArray[np.uint8], **options: Any) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def to_planes(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float()


@pytest.mark.parametrize("quality", [30, 50, 75, 90])
def test_compression_equals_an_encoders(quality: int) -> None:
    image = make_photo(117, 91)
    expected = to_planes(compress_with_pillow(image, quality=quality))
    compressed = compress(to_planes(image)[None], torch.tensor([quality]))[0]
    lost = (expected - to_planes(image)).square().mean().sqrt()
    assert (compressed - expected).square().mean().sqrt() < 0.2 * lost + 0.5
    assert torch.equal(compressed, compressed.round())


def test_each_image_has_its_own_quality_and_100_is_none() -> None:
    image = to_planes(make_photo())[None].expand(3, -1, -1, -1) + 0.25
    compressed = compress(image, torch.tensor([20, 80, 100]))
    lost = (compressed - image).square().mean((1, 2, 3))
    assert lost[0] > 2 * lost[1] > 0
    assert torch.equal(compressed[2], image[2])


def test_gradients_pass_through_remaining_coefficients() -> None:
    image = 100 + 0.5 * torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    compressed = compress(image, torch.tensor([50]))
    assert compressed.std() == 0  # the texture is too weak to be kept
    (gradient,) = torch.autograd.grad(compressed[0, 0, 3, 4], image)
    # Only block means remain, so a pixel changes only with its whole block: 8×8 in luma, 16×16 in chroma.
    assert gradient[0].sum().item() == pytest.approx(1, abs=1e-3)
    assert gradient[0, 1, :8, :8].std() < 1e-6
    (gradient,) = torch.autograd.grad(compress(image, torch.tensor([100])).sum(), image)
    assert (gradient == 1).all()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_own_tables_and_sampling_equal_an_encoders(subsampling: int) -> None:
    rng, image = np.random.default_rng(subsampling), make_photo(117, 91)
    luma, chroma = (rng.integers(4, 40, 64).tolist() for _ in range(2))
    expected = to_planes(compress_with_pillow(image, qtables=[luma, chroma], subsampling=subsampling))
    tables = torch.tensor([luma, chroma, chroma]).float().view(1, 3, 8, 8)
    sampling = ((1, 1), (2, 1), (2, 2))[subsampling]
    compressed = compress_with_tables(to_planes(image)[None], tables, sampling)[0]
    lost = (expected - to_planes(image)).square().mean().sqrt()
    assert (compressed - expected).square().mean().sqrt() < 0.2 * lost + 0.5
    # A rotated photo: its tables are transposed, and across and down change places.
    rotated = compress_with_tables(to_planes(image).mT[None], tables.mT, (sampling[1], sampling[0]))[0].mT
    assert (rotated - compressed).abs().mean() < 0.1  # a coefficient on the edge of rounding moves a block


def test_fine_color_is_reduced_as_by_an_encoder() -> None:
    image = make_photo(128, 128).astype(float)
    pale = (0.85 * image.mean(2, keepdims=True) + 0.15 * image).round().astype(np.uint8)
    fine = []
    for compressed in (
        to_planes(compress_with_pillow(pale, quality=70)),
        compress(to_planes(pale)[None], torch.tensor([70]))[0],
    ):
        spectrum = torch.fft.rfft2(compressed[0] - compressed[1]).abs().square()
        fine.append(spectrum[40:89, 40:].mean().item())
    assert fine[1] == pytest.approx(fine[0], rel=0.15)
