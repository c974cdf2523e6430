"""Reports on degradations that are right, or wrong in one way."""

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
from tests.support.degradation_stubs import StubDegradation, make_stub
from tests.support.training_factories import make_photo
from training.data.photos import Photos
from training.presets import PRESET_NAMES, get_preset
from training.report.alarms import find_alarms
from training.report.evaluator import Evaluator, Report, eval_crops_for
from training.report.two_sample import TwoSample, two_sample_accuracy

NUM_PHOTOS, NUM_CROPS = 40, 80


def take_photos(stub: StubDegradation, count: int, folder: Path) -> Photos:
    """Photos of other content, degraded by the stub."""
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    shots = []
    for _ in range(count):
        hr = torch.from_numpy(make_photo(rng, 400, 400)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            lr = stub(hr, stub.draw_latents(1, (100, 100), generator)).lr[0]
        shots.append((255 * lr).clamp(0, 255).round().byte().permute(1, 2, 0).numpy())
    return Photos.write(folder, shots)


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(2)
    clean = Photos.write(folder / "hr", (make_photo(rng, 400, 400) for _ in range(NUM_PHOTOS)))
    return Evaluator(take_photos(make_stub(), NUM_PHOTOS, folder / "lr"), clean, 4, num_crops=NUM_CROPS)


def codes(report: Report) -> list[str]:
    return [alarm.code for alarm in report.alarms]


def test_right_degradation_raises_no_alarm(evaluator: Evaluator) -> None:
    report = evaluator.report(make_stub())
    assert codes(report) == []
    assert report.two_sample
    assert report.two_sample.accuracy == pytest.approx(0.5, abs=0.12)
    assert 0 < report.two_sample.uncertainty < 0.1
    assert report.kernels.major.mean == pytest.approx(2.1, abs=0.15)
    assert report.noise.std.mean == pytest.approx(5, abs=0.4)
    for comparison in vars(report.predicted).values():
        assert comparison.generated_mean == pytest.approx(comparison.real_mean, rel=0.25)
    assert json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))["num_crops"] == NUM_CROPS


def test_wide_kernels_are_distinguishable(evaluator: Evaluator) -> None:
    report = evaluator.report(make_stub(wider=1.5))
    assert report.two_sample
    assert report.two_sample.accuracy > 0.8
    assert report.predicted.minor.generated_mean > report.predicted.minor.real_mean + 0.5
    assert "distinguishable" in codes(report)
    assert "blurrier" in next(alarm.message for alarm in report.alarms if alarm.code == "distinguishable")


@pytest.mark.parametrize(
    ("stub", "code"),
    [
        (make_stub(sigmas=(0, 0)), "noise_vanished"),
        (make_stub(one_kernel=True), "kernels_collapsed"),
        (make_stub(shift=0.8), "kernels_off_center"),
        (make_stub(tint=(0, 6, 0)), "color_shift"),
    ],
)
def test_wrong_degradations_raise_errors(evaluator: Evaluator, stub: StubDegradation, code: str) -> None:
    alarm = next(alarm for alarm in evaluator.report(stub).alarms if alarm.code == code)
    assert alarm.severity == "error"
    assert alarm.message


def test_non_finite_numbers_raise_an_alarm(evaluator: Evaluator) -> None:
    report = evaluator.report(make_stub(sigmas=(float("nan"), 1)))
    assert "not_finite" in codes(report)
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def test_score_grows_with_the_error(evaluator: Evaluator) -> None:
    by_width = [evaluator.score(make_stub(wider=wider)) for wider in (0.0, 0.5, 1.0, 2.0)]
    assert by_width == sorted(by_width)
    by_noise = [evaluator.score(make_stub(sigmas=sigmas)) for sigmas in ((3, 7), (4, 9), (7, 13), (15, 20))]
    assert by_noise == sorted(by_noise)
    assert evaluator.score(make_stub(by_brightness=0.03)) > by_noise[0]


def test_saturated_discriminator_and_few_photos(evaluator: Evaluator) -> None:
    history = [{"step": 1.0, "discriminator": 0.25}, *({"discriminator": 0.001} for _ in range(20)), {"edsr_l1": 0.1}]
    report = evaluator.report(make_stub(), history)
    assert report.discriminator_loss == pytest.approx(0.001)
    assert codes(report) == ["discriminator_saturated"]
    few = replace(report.photos.real, photos=9, used=7)
    alarms = find_alarms(replace(report, photos=replace(report.photos, real=few)))
    assert (alarms[0].code, alarms[0].severity) == ("too_few_real_photos", "error")
    assert "only 7 real photos (and 2 too small)" in alarms[0].message


def test_high_scores_raise_a_warning(evaluator: Evaluator) -> None:
    report = evaluator.report(make_stub())
    assert [alarm.code for alarm in find_alarms(replace(report, score=0.8))] == ["high_score"]
    assert find_alarms(replace(report, score=0.6)) == ()


def test_separable_photos_of_a_low_score_are_no_error(evaluator: Evaluator) -> None:
    report = replace(evaluator.report(make_stub()), two_sample=TwoSample(0.95, 0.01))
    for score, severity in ((0.3, "warning"), (0.6, "error")):
        (alarm,) = find_alarms(replace(report, score=score))
        assert (alarm.code, alarm.severity) == ("distinguishable", severity)


def test_other_content_raises_an_alarm(evaluator: Evaluator, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    dark = Photos.write(tmp_path / "hr", (make_photo(rng, 400, 400) // 4 for _ in range(NUM_PHOTOS)))
    report = Evaluator(evaluator.lr_photos, dark, 4, num_crops=40).report(make_stub())
    assert "content_mismatch" in codes(report)


def test_seed_determines_the_report(evaluator: Evaluator) -> None:
    """A report changes neither global random numbers nor the mode of the degradation."""
    stub = make_stub()
    stub.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    reports = [
        Evaluator(evaluator.lr_photos, evaluator.hr_photos, 4, seed=seed, num_crops=8).report(stub)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.rand(3), expected)
    assert stub.training
    assert reports[0] == reports[1]
    assert reports[0] != reports[2]


@pytest.mark.parametrize(("count", "side"), [(1, 32), (1, 50), (2, 32), (8, 50)])
def test_few_and_small_photos_are_reported_on(tmp_path: Path, count: int, side: int) -> None:
    rng = np.random.default_rng(0)
    lr = Photos.write(tmp_path / "lr", (make_photo(rng, side, side + 3) for _ in range(count)))
    hr = Photos.write(tmp_path / "hr", (make_photo(rng, 4 * side, 4 * side) for _ in range(count)))
    report = Evaluator(lr, hr, 4, num_crops=8).report(make_stub())
    assert (report.two_sample is None) == (count == 1)
    severity = "error" if count < 8 else "warning"
    assert ("too_few_real_photos", severity) in [(alarm.code, alarm.severity) for alarm in report.alarms]
    json.dumps(dataclasses.asdict(report), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "scale"), [*((name, 4) for name in PRESET_NAMES), *itertools.product(("default", "seed"), (2, 3))]
)
def test_every_preset_has_a_report(photos: tuple[Photos, Photos], name: str, scale: int) -> None:
    degradation = Degradation(get_preset(name, scale, device="cpu").degradation)
    report = Evaluator(*photos, scale, num_crops=3).report(degradation)
    json.dumps(dataclasses.asdict(report), allow_nan=False)
    assert ("kernels_off_center" in codes(report)) == (name != "default")  # as published


def test_short_trainings_get_short_reports() -> None:
    assert [eval_crops_for(seconds) for seconds in (0.1, 60, 10_000)] == [8, 60, 240]


def test_two_sample_test_sees_a_different_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    first, same = torch.randn(2, 200, 3, generator=generator)
    photos = list(range(200))
    equal, narrower = (two_sample_accuracy(first, factor * same, photos, photos) for factor in (1, 0.3))
    assert equal
    assert equal.accuracy == pytest.approx(0.5, abs=0.08)
    assert narrower
    assert narrower.accuracy > 0.7


def test_two_sample_test_holds_out_whole_photos() -> None:
    generator = torch.Generator().manual_seed(0)
    # All crops of a photo are alike: a classifier that saw one of them knows the others, but nothing else.
    first, second = (torch.randn(10, 6, generator=generator).repeat_interleave(20, 0) for _ in range(2))
    photos = [number // 20 for number in range(200)]
    test = two_sample_accuracy(first, second, photos, photos)
    assert test
    assert abs(test.accuracy - 0.5) < 3 * test.uncertainty + 0.05
    assert test.uncertainty > 0.05
