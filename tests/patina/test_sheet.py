"""The demo's contact sheet and that of a model, drawn of what is given here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.models.report import ReportOut
from patina.client.schemas import Alarm, Report
from patina.demo.camera import Camera, blur_and_sample, gaussian
from patina.demo.photographs import photographs
from patina.demo.sheet import Restoration, Spread, Story, Triplet, contact_sheet
from patina.sheet.learned import Example, Learned
from patina.sheet.learned import contact_sheet as model_sheet
from patina.sheet.page import ALARM, LEARNED, TRUTH, WIDTH


def story(count: int) -> Story:
    camera, rng = Camera(), np.random.default_rng(0)
    pictures = [photograph[:128, :160] for photograph in photographs().values()][:count]
    shots = [camera.shoot(picture, rng) for picture in pictures]
    triplets = [
        Triplet(
            picture,
            shot.lr,
            shot.kernel,
            (shot.lr - blur_and_sample(picture, shot.kernel, camera.origin, camera.scale)) / 255,
            shot.lr,
        )
        for picture, shot in zip(pictures, shots, strict=True)
    ]
    widths = rng.uniform(1, 3, 40)
    return Story(
        "Learned in no time.",
        [shot.lr for shot in shots],
        pictures,
        triplets,
        [shot.kernel for shot in shots],
        [shot.kernel for shot in shots],
        [Spread("width", "pixels", widths, widths + 0.2)],
        [Restoration(pictures[0], pictures[0], pictures[0], 24.0, 25.0)],
    )


def test_grows_with_what_it_shows() -> None:
    whole = story(3)
    small, large = contact_sheet(replace(whole, triplets=whole.triplets[:1])), contact_sheet(whole)
    assert small.width == large.width == WIDTH
    assert large.height > small.height + 400


def test_shows_pictures_and_both_colours() -> None:
    sheet = np.asarray(contact_sheet(story(3)))
    for colour in (LEARNED, TRUTH):
        assert (sheet == colour).all(axis=2).sum() > 200
    blank = (sheet == sheet[0, 0]).all(axis=2)
    assert blank.mean() < 0.6
    assert blank[:, :40].all(), "nothing runs over the margin"


def test_a_spread_of_one_value_is_still_drawn() -> None:
    flat = story(2)
    one = Spread("width", "pixels", np.full(5, 2.0), np.full(5, 2.0))
    contact_sheet(replace(flat, spreads=[one]))


def learned(side: int) -> Learned:
    """Real patches are red, made ones blue."""
    rng = np.random.default_rng(0)
    kernel = gaussian(2, 1, 0.5, 20)
    red, blue = (np.full((side, side, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    tile = np.full((4 * side, 4 * side, 3), 128, np.uint8)
    return Learned(
        [red] * 12,
        [blue] * 12,
        [Example(tile, tile, tile, kernel)] * 3,
        [kernel] * 24,
        rng.uniform(1, 3, 128),
        rng.uniform(1, 2, 128),
        [(16.0, 2.0), (128.0, 4.0), (240.0, 6.0)],
    )


@pytest.mark.parametrize("side", [32, 64])
def test_real_patches_stand_on_the_left_and_made_ones_on_the_right(side: int) -> None:
    sheet = np.asarray(model_sheet("a camera", learned(side), None))
    for colour, left, right in (((255, 0, 0), 0, WIDTH // 2), ((0, 0, 255), WIDTH // 2, WIDTH)):
        there = (sheet == colour).all(axis=2)
        assert there[:, left:right].sum() > 6 * 200**2
        assert there.sum() == there[:, left:right].sum()


def test_without_patches_to_compare_nothing_is_said_of_real_photos() -> None:
    whole = learned(32)
    with_them, without = (np.asarray(model_sheet("a camera", each, None)) for each in (whole, replace(whole, real=())))
    assert len(without) < len(with_them) - 300
    assert not (without == (255, 0, 0)).all(axis=2).any()


def test_alarms_are_told_in_lines_that_stay_on_the_sheet() -> None:
    words = "A long warning that goes on and on. " * 12
    example = ReportOut.model_config["json_schema_extra"]["example"]  # type: ignore[index]
    report = Report.model_validate(example)
    calm, alarmed = (
        np.asarray(model_sheet("a camera", learned(32), report.model_copy(update={"alarms": alarms})))
        for alarms in ([], [Alarm(code="told_apart", severity="alarm", message=words)])
    )
    assert len(alarmed) > len(calm) + 50  # three lines instead of one
    assert (alarmed == ALARM).all(axis=2).any()
    assert (alarmed[:, -40:] == alarmed[0, 0]).all()
