from __future__ import annotations

from dataclasses import replace

import numpy as np

from patina.demo.camera import Camera, blur_and_sample
from patina.demo.photographs import photographs
from patina.demo.sheet import LEARNED, TRUTH, WIDTH, Restoration, Spread, Story, Triplet, contact_sheet


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
