"""Files of a model that the last version with the old names wrote.

`outputs.json` holds what that version computed with the two networks.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import app.models.report
import training.state
from app.models.report import ReportRead, rename_metrics
from models.checkpoint import load_degradation, load_edsr

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[float]]:
    loaded: dict[str, list[float]] = json.loads((DATA / "outputs.json").read_text())
    return loaded


def test_old_degradation_computes_the_same(outputs: dict[str, list[float]]) -> None:
    degradation = load_degradation(DATA / "degrader.safetensors")
    config = degradation.config
    assert config.center_kernels
    assert config.kernel.parametric_ellipse
    assert config.noise is not None
    assert (config.noise.condition_on_image, config.noise.num_filters, config.noise.uniform_latent) == (True, 4, True)
    window = torch.linspace(0, 1, 3 * 96 * 96).reshape(1, 3, 96, 96)
    latents = degradation.draw_latents(1, (24, 24), torch.Generator().manual_seed(0))
    with torch.no_grad():
        degraded = degradation(window, latents)
    assert degraded.kernel[0, 11, 8:16].tolist() == pytest.approx(outputs["kernel_center"], abs=1e-5)
    assert degraded.noise[0, 1, 3, :8].tolist() == pytest.approx(outputs["noise_corner"], abs=1e-5)


def test_old_edsr_computes_the_same(outputs: dict[str, list[float]]) -> None:
    edsr = load_edsr(DATA / "sr.safetensors")
    assert edsr.config.single_upsample
    with torch.no_grad():
        sr = edsr(torch.linspace(0, 1, 3 * 8 * 8).reshape(1, 3, 8, 8))
    assert sr[0, 2, 5, :8].tolist() == pytest.approx(outputs["sr_corner"], abs=1e-5)


def test_old_report_is_shown_with_current_names() -> None:
    stored = json.loads((DATA / "report.json").read_text())
    report = ReportRead.from_stored((DATA / "report.json").read_bytes())
    assert report.score == stored["score"]
    assert report.kernels.off_center.mean == stored["kernels"]["off_centre"]["mean"]
    assert report.kernels.border_mass == stored["kernels"]["at_border"]
    assert report.noise.std.mean == stored["noise"]["level"]["mean"]
    assert report.noise.by_brightness[0].std == stored["noise"]["by_brightness"][0]["level"]
    assert (report.noise.corr_right, report.noise.corr_down) == (stored["noise"]["right"], stored["noise"]["below"])
    assert report.noise.corr_red_blue == stored["noise"]["red_blue"]
    assert report.colors.red == stored["colours"]["red"]
    assert report.predicted.dark.generated_mean == stored["readings"]["in_shade"]["made_mean"]
    assert report.predicted.color_fine.generated_std == stored["readings"]["colour_fine"]["made_std"]
    assert (report.num_crops, report.is_finite) == (stored["looks"], stored["finite"])
    codes = [(alarm.code, alarm.severity) for alarm in report.alarms]
    assert codes == [(name, "error") for name in ("noise_vanished", "too_few_real_photos", "too_few_clean_photos")]


def test_old_alarm_codes_and_metrics_are_renamed() -> None:
    stored = json.loads((DATA / "report.json").read_text())
    old = (
        "told_apart",
        "photos_unlike",
        "colours_drift",
        "kernels_too_wide",
        "discriminator_won",
        "kernels_off_centre",
    )
    stored["alarms"] = [{"code": code, "severity": "warning", "message": "…"} for code in old]
    assert [alarm.code for alarm in ReportRead.from_stored(json.dumps(stored)).alarms] == [
        "distinguishable",
        "content_mismatch",
        "color_shift",
        "kernel_window_too_small",
        "discriminator_saturated",
        "kernels_off_center",
    ]
    history = [{"step": 1.0, "aim": 3.0}, {"step": 2.0, "match": 1.0, "plainness": 0.2, "noise_levels": 4.0}]
    assert rename_metrics(history) == [
        {"step": 1.0, "fit": 3.0},
        {"step": 2.0, "match": 1.0, "regularization": 0.2, "noise_std": 4.0},
    ]


def test_the_api_and_the_training_rename_the_same_metrics() -> None:
    assert app.models.report.RENAMED_METRICS == training.state.RENAMED_METRICS
