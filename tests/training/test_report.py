"""Reports on degradations that are right, and on those that are wrong in one way."""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.degradation import Degradation
from tests.training.conftest import photo
from tests.training.stubs import Stub, camera
from training.config import PRESET_NAMES, preset
from training.data.photos import Photos
from training.report.alarms import alarms_of
from training.report.evaluator import Judge, Report, looks_within
from training.report.two_sample import told_apart

PHOTOS, LOOKS = 40, 80


def shot(stub: Stub, count: int, folder: Path) -> Photos:
    """Photos that this camera takes of things of its own."""
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    taken = []
    for _ in range(count):
        hr = torch.from_numpy(photo(rng, 400, 400)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            lr = stub(hr, stub.draw_latents(1, (100, 100), generator)).lr[0]
        taken.append((255 * lr).clamp(0, 255).round().byte().permute(1, 2, 0).numpy())
    return Photos.write(folder, taken)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(2)
    clean = Photos.write(folder / "hr", (photo(rng, 400, 400) for _ in range(PHOTOS)))
    return Judge(shot(camera(), PHOTOS, folder / "lr"), clean, 4, looks=LOOKS)


def codes(report: Report) -> list[str]:
    return [alarm.code for alarm in report.alarms]


def test_a_fine_degradation_raises_no_alarm(judge: Judge) -> None:
    report = judge.report(camera())
    assert codes(report) == []
    assert report.two_sample
    assert report.two_sample.accuracy == pytest.approx(0.5, abs=0.12)
    assert 0 < report.two_sample.uncertainty < 0.1
    assert report.kernels.major.mean == pytest.approx(2.1, abs=0.15)
    assert report.noise.level.mean == pytest.approx(5, abs=0.4)
    for seen in vars(report.readings).values():
        assert seen.made_mean == pytest.approx(seen.real_mean, rel=0.25)
    assert json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))["looks"] == LOOKS


def test_kernels_that_are_too_wide_are_told_apart(judge: Judge) -> None:
    report = judge.report(camera(wider=1.5))
    assert report.two_sample
    assert report.two_sample.accuracy > 0.8
    assert report.readings.minor.made_mean > report.readings.minor.real_mean + 0.5
    assert "told_apart" in codes(report)
    assert "blurrier" in next(alarm.message for alarm in report.alarms if alarm.code == "told_apart")


@pytest.mark.parametrize(
    ("stub", "code"),
    [
        (camera(levels=(0, 0)), "noise_vanished"),
        (camera(one_kernel=True), "kernels_collapsed"),
        (camera(shift=0.8), "kernels_off_centre"),
        (camera(tint=(0, 6, 0)), "colours_drift"),
    ],
)
def test_what_is_wrong_is_said(judge: Judge, stub: Stub, code: str) -> None:
    alarm = next(alarm for alarm in judge.report(stub).alarms if alarm.code == code)
    assert alarm.severity == "alarm"
    assert alarm.message


def test_numbers_that_are_not_finite_are_said(judge: Judge) -> None:
    report = judge.report(camera(levels=(float("nan"), 1)))
    assert "not_finite" in codes(report)
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_the_score_grows_with_the_error(judge: Judge) -> None:
    by_width = [judge.score(camera(wider=wider)) for wider in (0.0, 0.5, 1.0, 2.0)]
    assert by_width == sorted(by_width)
    by_noise = [judge.score(camera(levels=levels)) for levels in ((3, 7), (4, 9), (7, 13), (15, 20))]
    assert by_noise == sorted(by_noise)
    assert judge.score(camera(by_brightness=0.03)) > by_noise[0]


def test_discriminator_and_photos_that_are_unlike(judge: Judge) -> None:
    history = [{"step": 1.0, "discriminator": 0.25}, *({"discriminator": 0.001} for _ in range(20)), {"edsr_l1": 0.1}]
    report = judge.report(camera(), history)
    assert report.discriminator_loss == pytest.approx(0.001)
    assert codes(report) == ["discriminator_won"]
    few = replace(report.photos.real, photos=9, used=7)
    found = alarms_of(replace(report, photos=replace(report.photos, real=few)))
    assert (found[0].code, found[0].severity) == ("too_few_real_photos", "alarm")
    assert "only 7 real photos (besides 2 too small)" in found[0].message


def test_photos_of_other_things_are_said(judge: Judge, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    dark = Photos.write(tmp_path / "hr", (photo(rng, 400, 400) // 4 for _ in range(PHOTOS)))
    report = Judge(judge.lr_photos, dark, 4, looks=40).report(camera())
    assert "photos_unlike" in codes(report)


def test_the_same_seed_is_the_same_report_and_disturbs_nothing(judge: Judge) -> None:
    stub = camera()
    stub.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    reports = [Judge(judge.lr_photos, judge.hr_photos, 4, seed=seed, looks=8).report(stub) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(3), expected)
    assert stub.training
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


@pytest.mark.parametrize(("count", "side"), [(1, 32), (1, 50), (2, 32), (8, 50)])
def test_few_and_small_photos_will_do(tmp_path: Path, count: int, side: int) -> None:
    rng = np.random.default_rng(0)
    lr = Photos.write(tmp_path / "lr", (photo(rng, side, side + 3) for _ in range(count)))
    hr = Photos.write(tmp_path / "hr", (photo(rng, 4 * side, 4 * side) for _ in range(count)))
    report = Judge(lr, hr, 4, looks=8).report(camera())
    assert (report.two_sample is None) == (count == 1)
    assert ("too_few_real_photos", "alarm" if count < 8 else "warning") in [(a.code, a.severity) for a in report.alarms]
    json.dumps(dataclasses.asdict(report), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "scale"), [*((name, 4) for name in PRESET_NAMES), *itertools.product(("default", "seed"), (2, 3))]
)
def test_every_preset_has_a_report(photos: tuple[Photos, Photos], name: str, scale: int) -> None:
    degradation = Degradation(preset(name, scale, device="cpu").degradation)
    report = Judge(*photos, scale, looks=3).report(degradation)
    json.dumps(dataclasses.asdict(report), allow_nan=False)
    assert ("kernels_off_centre" in codes(report)) == (name != "default")  # as published


def test_short_trainings_get_short_reports() -> None:
    assert [looks_within(seconds) for seconds in (0.1, 60, 10_000)] == [8, 60, 240]


def test_sets_that_differ_in_their_spread_alone_are_told_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    one, same = torch.randn(2, 200, 3, generator=generator)
    photos = list(range(200))
    assert told_apart(one, same, photos, photos).accuracy == pytest.approx(0.5, abs=0.08)  # type: ignore[union-attr]
    assert told_apart(one, 0.3 * same, photos, photos).accuracy > 0.7  # type: ignore[union-attr]


def test_a_photo_is_judged_by_what_was_learned_from_others() -> None:
    generator = torch.Generator().manual_seed(0)
    # Looks at one photo are all alike: who has seen one of them knows the others, but nothing else.
    one, other = (torch.randn(10, 6, generator=generator).repeat_interleave(20, 0) for _ in range(2))
    photos = [number // 20 for number in range(200)]
    test = told_apart(one, other, photos, photos)
    assert test
    assert abs(test.accuracy - 0.5) < 3 * test.uncertainty + 0.05
    assert test.uncertainty > 0.05
