"""Kinds of photos in the report: sharp and shaken ones, clean and noisy ones."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.degradation_stubs import make_gaussian, make_stub
from tests.support.training_factories import make_photo
from training.data.photos import Photos
from training.estimator.network import DegradationTargets, get_features, load_pretrained_estimator
from training.estimator.widths import widths_of_spectrum
from training.report.alarms import find_alarms
from training.report.evaluator import Evaluator, Report
from training.report.kinds import Kinds, Strengths, compare_kinds, estimate_strengths
from training.state import RealFeatures


def draw(*kinds: tuple[int, tuple[float, float], tuple[float, float]], seed: int = 0) -> Strengths:
    """Photos of kinds: number, range of both widths, range of the noise."""
    rng = np.random.default_rng(seed)
    widths = np.concatenate([np.sort(rng.uniform(*blur, (count, 2))) for count, blur, _ in kinds])
    noise = np.concatenate([rng.uniform(*levels, count) for count, _, levels in kinds])
    minor, major, std = (torch.from_numpy(values).float() for values in (widths[:, 0], widths[:, 1], noise))
    return Strengths(major, minor, std)


MIXTURE = draw((120, (0.8, 1.2), (1, 2)), (80, (2.2, 3.2), (6, 10)))
ONE_KIND = draw((200, (0.8, 3.5), (1, 6)), seed=1)


def compare(real: Strengths, generated: Strengths, num_photos: int = 200) -> Kinds:
    kinds = compare_kinds(real, num_photos, generated)
    assert kinds
    return kinds


def test_widths_are_read_from_spectra() -> None:
    shapes = [(0.8, 0.8, 0.0), (1.5, 1.0, 0.4), (3.0, 1.2, 2.0), (2.5, 2.5, 1.0)]
    features = get_features(4)
    targets = features.kernel_targets(torch.stack([make_gaussian(*shape) for shape in shapes]))
    major, minor = widths_of_spectrum(features.spectra, targets, 4)
    np.testing.assert_allclose(major, [shape[0] for shape in shapes], rtol=0.05)
    np.testing.assert_allclose(minor, [shape[1] for shape in shapes], rtol=0.05)


def test_two_kinds_have_their_shares_and_means() -> None:
    kinds = compare(MIXTURE, MIXTURE)
    assert kinds.blur_distance == 0
    for comparison in (kinds.by_blur, kinds.by_noise):
        assert comparison
        assert [kind.share for kind in comparison.real] == pytest.approx([0.6, 0.4], abs=0.01)
        assert [kind.major for kind in comparison.real] == pytest.approx([1.07, 2.87], abs=0.05)
        assert [kind.minor for kind in comparison.real] == pytest.approx([0.93, 2.53], abs=0.05)
        assert [kind.noise for kind in comparison.real] == pytest.approx([1.5, 8], abs=0.2)
        assert comparison.generated == comparison.real


@pytest.mark.parametrize("seed", range(4))
def test_broad_and_skewed_sets_are_one_kind(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    broad = draw((200, (0.8, 3.5), (1, 6)), seed=seed)
    error = 1 + 0.1 * torch.randn(3, 200, generator=rng)
    blurred = Strengths(broad.major * error[0], broad.minor * error[1], 1 - 3 * torch.rand(200, generator=rng).log())
    kinds = compare(blurred, blurred)
    for comparison in (kinds.by_blur, kinds.by_noise):
        assert comparison
        assert len(comparison.real) == len(comparison.generated) == 1
        assert comparison.real[0].share == pytest.approx(1)


def test_distance_is_that_of_the_widths() -> None:
    wider = MIXTURE._replace(major=MIXTURE.major + 0.4, minor=MIXTURE.minor + 0.2)
    assert compare(MIXTURE, wider).blur_distance == pytest.approx(0.3, abs=0.001)


def test_few_photos_have_no_kinds() -> None:
    assert compare_kinds(MIXTURE, 20, MIXTURE) is None
    assert compare_kinds(MIXTURE, 200, draw((8, (1, 2), (1, 2)))) is None


def test_predictions_are_converted_to_widths_and_noise() -> None:
    estimator, features = load_pretrained_estimator(), get_features(4)
    kernel = torch.stack([make_gaussian(1.0, 1.0, 0), make_gaussian(2.5, 1.5, 1)])
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * torch.tensor([2, 8]).view(
        2, 1, 1, 1
    )
    spectrum = features.kernel_targets(kernel)
    targets = DegradationTargets(spectrum, *features.noise_targets(noise, noise, 1))
    predicted = estimator.normalize_targets(targets)
    real = RealFeatures(predicted, torch.zeros(2), torch.arange(2), corrected_spectrum=predicted.kernel_spectrum)
    strengths = estimate_strengths(real, estimator, 4)
    assert strengths
    assert strengths.major.tolist() == pytest.approx([1, 2.5], abs=0.1)
    assert strengths.minor.tolist() == pytest.approx([1, 1.5], abs=0.1)
    assert strengths.noise is not None
    assert strengths.noise.tolist() == pytest.approx([2, 8], rel=0.05)
    assert estimate_strengths(real._replace(noise_curves=torch.ones(9, 5, 18)), estimator, 4)[2] is None  # type: ignore[index]
    assert estimate_strengths(real._replace(corrected_spectrum=torch.zeros(0, 0)), estimator, 4) is None


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report whose real photos are of one kind of blur, as predicted without error."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(2)
    lr, hr = (
        Photos.write(folder / role, (make_photo(rng, side, side) for _ in range(30)))
        for role, side in (("lr", 64), ("hr", 256))
    )
    features, estimator = get_features(4), load_pretrained_estimator()
    rng = np.random.default_rng(3)
    widths = np.sort(rng.uniform(1.4, 2.8, (90, 2)))
    kernel = torch.stack([make_gaussian(major, minor, rng.uniform(0, 3)) for minor, major in widths])
    noise = torch.zeros(90, 13)
    predicted = estimator.normalize_targets(
        DegradationTargets(features.kernel_targets(kernel), noise[:, 1:], noise[:, :1])
    )
    real = RealFeatures(predicted, torch.zeros(90), torch.arange(90), corrected_spectrum=predicted.kernel_spectrum)
    return Evaluator(lr, hr, 4, num_crops=100).report(make_stub(), (), real)


def test_report_has_the_kinds(report: Report) -> None:
    assert report.kinds
    (real,), (generated,) = report.kinds.by_blur.real, report.kinds.by_blur.generated
    assert (real.major, real.minor) == pytest.approx((2.3, 1.85), abs=0.15)
    assert generated.major == pytest.approx(report.kernels.major.mean, abs=0.01)
    assert generated.noise == pytest.approx(report.noise.std.mean, abs=0.01)
    json.dumps(dataclasses.asdict(report), allow_nan=False)


def alarms_for(report: Report, real: Strengths, generated: Strengths) -> dict[str, str]:
    alarms = find_alarms(replace(report, kinds=compare(real, generated)))
    return {alarm.code: alarm.message for alarm in alarms if alarm.code.startswith("kinds")}


def test_right_mixtures_and_single_kinds_are_silent(report: Report) -> None:
    again = draw((100, (0.8, 1.2), (1, 2)), (100, (2.2, 3.2), (6, 10)), seed=5)
    assert alarms_for(report, MIXTURE, again) == {}
    assert alarms_for(report, ONE_KIND, draw((200, (1, 3), (2, 4)), seed=6)) == {}


def test_merged_kinds_raise_a_warning(report: Report) -> None:
    between = draw((200, (1.2, 2.6), (2, 7)), seed=5)
    messages = alarms_for(report, MIXTURE, between)
    assert "two kinds" in messages["kinds_merged"]
    assert "train a dataset for each kind" in messages["kinds_merged"]
    nearer = draw((100, (0.8, 1.2), (1, 2)), (100, (1.5, 1.9), (6, 10)), seed=5)
    assert "kinds_merged" in alarms_for(report, MIXTURE, nearer)


def test_lost_kind_raises_a_warning(report: Report) -> None:
    mostly_sharp = draw((190, (0.8, 1.2), (1, 2)), (30, (2.2, 3.2), (6, 10)), seed=5)
    assert "kinds_merged" in alarms_for(report, MIXTURE, mostly_sharp)


def test_noise_independent_of_blur_raises_a_warning(report: Report) -> None:
    independent = draw((100, (0.8, 1.2), (1, 2)), (100, (2.2, 3.2), (1, 2)), seed=5)
    independent = independent._replace(noise=MIXTURE.noise[torch.randperm(200)])  # type: ignore[index]
    messages = alarms_for(report, MIXTURE, independent)
    assert list(messages) == ["kinds_mixed"]
    assert "levels" in messages["kinds_mixed"]
