"""The contact sheets of the demo and of a model, drawn from synthetic data."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from app.models.report import ReportRead
from patina.demo.camera import Camera, blur_and_downsample, gaussian_kernel
from patina.demo.photographs import load_photographs
from patina.demo.sheet import PropertySamples, Restoration, SheetData, Triplet, contact_sheet
from patina.schemas import GALLERY_FILES, Alarm, Report
from patina.sheet.model import Example, GalleryData
from patina.sheet.model import contact_sheet as model_sheet
from patina.sheet.page import ALARM, LEARNED, TRUTH, WIDTH


def make_sheet_data(count: int) -> SheetData:
    camera, rng = Camera(), np.random.default_rng(0)
    pictures = [photograph[:128, :160] for photograph in load_photographs().values()][:count]
    photos = [camera.shoot(picture, rng) for picture in pictures]
    triplets = [
        Triplet(
            picture,
            photo.lr,
            photo.kernel,
            (photo.lr - blur_and_downsample(picture, photo.kernel, camera.origin, camera.scale)) / 255,
            photo.lr,
        )
        for picture, photo in zip(pictures, photos, strict=True)
    ]
    sigmas = rng.uniform(1, 3, 40)
    return SheetData(
        "Learned in no time.",
        [photo.lr for photo in photos],
        pictures,
        triplets,
        [photo.kernel for photo in photos],
        [photo.kernel for photo in photos],
        [PropertySamples("sigma", "pixels", sigmas, sigmas + 0.2)],
        [Restoration(pictures[0], pictures[0], pictures[0], 24.0, 25.0)],
    )


def test_sheet_grows_with_its_rows() -> None:
    data = make_sheet_data(3)
    small, large = contact_sheet(replace(data, triplets=data.triplets[:1])), contact_sheet(data)
    assert small.width == large.width == WIDTH
    assert large.height > small.height + 400


def test_sheet_has_pictures_and_both_colors() -> None:
    sheet = np.asarray(contact_sheet(make_sheet_data(3)))
    for color in (LEARNED, TRUTH):
        assert (sheet == color).all(axis=2).sum() > 200
    blank = (sheet == sheet[0, 0]).all(axis=2)
    assert blank.mean() < 0.6
    assert blank[:, :40].all(), "nothing is drawn over the margin"


def test_constant_property_is_drawn() -> None:
    constant = PropertySamples("sigma", "pixels", np.full(5, 2.0), np.full(5, 2.0))
    contact_sheet(replace(make_sheet_data(2), properties=[constant]))


def make_gallery(side: int) -> GalleryData:
    """Returns a gallery whose real patches are red and whose generated ones are blue."""
    rng = np.random.default_rng(0)
    kernel = gaussian_kernel(2, 1, 0.5, 20)
    red, blue = (np.full((side, side, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255)))
    tile = np.full((4 * side, 4 * side, 3), 128, np.uint8)
    return GalleryData(
        [red] * 12,
        [blue] * 12,
        [Example(tile, tile, tile, kernel)] * 3,
        [kernel] * 24,
        rng.uniform(1, 3, 128),
        rng.uniform(1, 2, 128),
        [(16.0, 2.0), (128.0, 4.0), (240.0, 6.0)],
    )


@pytest.mark.parametrize("side", [32, 64])
def test_real_patches_are_left_and_generated_ones_right(side: int) -> None:
    sheet = np.asarray(model_sheet("a camera", make_gallery(side), None))
    for color, left, right in (((255, 0, 0), 0, WIDTH // 2), ((0, 0, 255), WIDTH // 2, WIDTH)):
        found = (sheet == color).all(axis=2)
        assert found[:, left:right].sum() > 6 * 200**2
        assert found.sum() == found[:, left:right].sum()


def test_without_patches_the_first_section_is_missing() -> None:
    gallery = make_gallery(32)
    full, without = (np.asarray(model_sheet("a camera", data, None)) for data in (gallery, replace(gallery, real=())))
    assert len(without) < len(full) - 300
    assert not (without == (255, 0, 0)).all(axis=2).any()


def test_alarm_messages_wrap_at_the_margin() -> None:
    message = "A long warning with very many words. " * 12
    example = ReportRead.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    report = Report.model_validate(example)
    without, with_alarm = (
        np.asarray(model_sheet("a camera", make_gallery(32), report.model_copy(update={"alarms": alarms})))
        for alarms in ([], [Alarm(code="distinguishable", severity="error", message=message)])
    )
    assert len(with_alarm) > len(without) + 50  # three lines instead of one
    assert (with_alarm == ALARM).all(axis=2).any()
    assert (with_alarm[:, -40:] == with_alarm[0, 0]).all()


def test_gallery_of_an_earlier_version_is_read() -> None:
    def render(width: int) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (width, 2)).save(file, "PNG")
        return file.getvalue()

    def read(noise: dict[str, float]) -> GalleryData:
        kernel = {"peak": 1.0, "taps": base64.b64encode(b"\xff").decode()}
        gallery = {"side": 2, "scale": 1, "real": [True], "kernel_size": 1, "kernels": [kernel], "widths": []}
        gallery |= {"example_kernels": [kernel], "noise": {"by_brightness": [noise]}}
        contents = (json.dumps(gallery).encode(), render(2), render(6))
        return GalleryData.from_files(dict(zip(GALLERY_FILES, contents, strict=True)))

    for name in ("std", "level"):
        assert read({"brightness": 16.0, name: 2.5}).noise == [(16.0, 2.5)]
