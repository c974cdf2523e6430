"""Writes a learned degradation as options for the on-the-fly pipelines of other trainers, with a note on the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.degradation import Degradation
from patina.export.otf_fit import (
    BRIGHTNESS,
    Array,
    Measured,
    OtfOptions,
    distance,
    fit,
    measure,
    simulate_sigmas,
    spread_of_shape,
)

PHOTOS = 512  # that are drawn and measured
KEEP = (0.0, 0.0, 1.0)  # probabilities of a resize: up, down, keep
MAX_WINDOW = 21  # pixels a side of the trainers' largest blur kernel
NEUTRAL_QUALITY = 99.0  # of a JPEG that can't be left out; 100 would divide by zero
WTP_GAUSS_STD = 0.25 * 255  # of wtp_dataset_destroyer's Gaussian noise at alpha 1, in 8-bit levels

Value = str | float | int | bool | Sequence[str] | Sequence[float]
Options = Mapping[str, Value]


def write_otf_options(degradation: Degradation, folder: Path, seed: int) -> Iterator[Path]:
    """Writes an options file for each trainer, and `otf-notes.md`. Yields each file once it is written."""
    measured = measure(degradation, PHOTOS, seed)
    # Real-ESRGAN and neosr draw how they reduce images. traiNNer-redux gets the option to do it bilinearly, and
    # wtp_dataset_destroyer by Catmull-Rom interpolation with antialiasing, which has no variance.
    drawn = fit(measured, resize_variance=_mean_resize_variance(measured.scale))
    bilinear = fit(measured, resize_variance=_bilinear_variance(measured.scale))
    exact = fit(replace(measured, shape=np.ones(1)))  # it has Gaussians alone
    texts = {
        "otf-realesrgan.yml": _render_yaml(_model_options(drawn), _dataset_options(drawn)),
        "otf-trainner-redux.yml": _render_yaml(_trainner_model_options(bilinear), _trainner_dataset_options(bilinear)),
        "otf-neosr.toml": _render_toml(drawn),
        "otf-wtp.hcl": _render_hcl(exact),
        "otf-notes.md": _render_notes(measured, drawn, bilinear, exact),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        yield folder / name


def _mean_resize_variance(scale: int) -> float:
    """Returns the mean variance that area, bilinear and bicubic downsampling without antialiasing add, in pixels²."""
    area = (scale**2 - 1) / 12
    return (area + _bilinear_variance(scale) + _bicubic_variance(scale)) / 3


def _bilinear_variance(scale: int) -> float:
    return 0.0 if scale % 2 else 0.25  # at an even scale, the sampled point lies between two pixels


def _bicubic_variance(scale: int) -> float:
    return 0.0 if scale % 2 else -0.125  # with torch's a = −0.75


def _model_options(options: OtfOptions) -> dict[str, Value]:
    """Returns the options of the pipeline. The first round only blurs; the second has noise and JPEG at the end."""
    return {
        "scale": options.scale,
        "high_order_degradation": True,
        "resize_prob": KEEP,
        "resize_range": (1.0, 1.0),
        "gaussian_noise_prob": 1.0,
        "noise_range": (0.0, 0.0),
        "poisson_scale_range": (0.0, 0.0),
        "gray_noise_prob": 0.0,
        "jpeg_range": (NEUTRAL_QUALITY, NEUTRAL_QUALITY),
        "second_blur_prob": 0.0,
        "resize_prob2": KEEP,
        "resize_range2": (1.0, 1.0),
        "gaussian_noise_prob2": options.gaussian_share,
        "noise_range2": options.noise_range,
        "poisson_scale_range2": options.poisson_range,
        "gray_noise_prob2": options.gray_share,
        "jpeg_range2": options.jpeg_range,
    }


def _trainner_model_options(options: OtfOptions) -> dict[str, Value]:
    """Returns the pipeline's options for traiNNer-redux: a probability for each part, and modes of resizing."""
    shared = _model_options(options)
    del shared["second_blur_prob"]
    return shared | {
        "blur_prob": 1.0,
        "jpeg_prob": 0.0,
        "blur_prob2": 0.0,
        "jpeg_prob2": options.jpeg_share,
        **{f"resize_mode_list{number}": ("bilinear",) for number in ("", 2, 3)},
        **{f"resize_mode_prob{number}": (1.0,) for number in ("", 2, 3)},
    }


def _dataset_options(options: OtfOptions) -> dict[str, Value]:
    shares = (options.isotropic, 1 - options.isotropic)
    kinds = ("generalized_iso", "generalized_aniso") if options.shape else ("iso", "aniso")
    shape = options.shape or (1.0, 1.0)
    return {
        "blur_kernel_size": options.kernel_size,
        "kernel_list": kinds,
        "kernel_prob": shares,
        "sinc_prob": 0.0,
        "blur_sigma": options.blur_sigma,
        "betag_range": shape,
        "betap_range": (1.0, 1.0),
        "blur_kernel_size2": options.kernel_size,
        "kernel_list2": kinds,
        "kernel_prob2": shares,
        "sinc_prob2": 0.0,
        "blur_sigma2": options.blur_sigma,
        "betag_range2": shape,
        "betap_range2": (1.0, 1.0),
        "final_sinc_prob": 0.0,
    }


def _trainner_dataset_options(options: OtfOptions) -> dict[str, Value]:
    window = min(options.kernel_size, MAX_WINDOW)
    ranges = dict.fromkeys(("kernel_range", "kernel_range2", "final_kernel_range"), (window, window))
    return _dataset_options(options) | ranges


def _format(value: Value) -> str:
    """Formats a value in a way that YAML, TOML and HCL share."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0") + ("0" if value == int(value) else "")
    return "[" + ", ".join(map(_format, value)) + "]"


def _render_yaml(model: Options, dataset: Options) -> str:
    """Renders top-level options, and those of the training dataset."""
    lines = ["# Learned by Patina. Copy into your options, those of the dataset to datasets.train. See otf-notes.md."]
    lines += [f"{name}: {_format(value)}" for name, value in model.items()]
    lines += ["datasets:", "  train:", *(f"    {name}: {_format(value)}" for name, value in dataset.items())]
    return "\n".join(lines) + "\n"


def _render_toml(options: OtfOptions) -> str:
    model = _model_options(options)
    lines = ["# Learned by Patina. Copy into your options. See otf-notes.md.", f"scale = {model.pop('scale')}"]
    del model["high_order_degradation"]  # the model type `otf` says so
    lines += ["", "[degradations]"]
    lines += [f"{name} = {_format(value)}" for name, value in (model | _dataset_options(options)).items()]
    return "\n".join(lines) + "\n"


def _render_hcl(options: OtfOptions) -> str:
    """Renders the degradations of wtp_dataset_destroyer in their order. Its blur is round and its noise Gaussian."""
    low, high = (value / WTP_GAUSS_STD for value in options.noise_range)
    sections: list[dict[str, Value | dict[str, Value]]] = [
        {"type": "blur", "filter": ("gauss",), "target_kernel": {"gauss": options.blur_sigma}, "probability": 1.0},
        {"type": "resize", "alg_lq": ("cubic_catrom",), "alg_hq": ("cubic_catrom",), "scale": options.scale},
        {
            "type": "noise",
            "type_noise": ("gauss",),
            "alpha": (low, high, max(1e-4, (high - low) / 20)),
            "y_noise": options.gray_share,
            "uv_noise": 0.0,
            "probability": 1.0 if high > 0 else 0.0,
        },
        {
            "type": "compress",
            "algorithm": ("jpeg",),
            "target_compress": {"jpeg": tuple(round(quality) for quality in options.jpeg_range)},
            "probability": options.jpeg_share,
        },
    ]
    if options.scale == 1:
        del sections[1]
    lines = ["# Learned by Patina. See otf-notes.md.", 'input = "path/to/clean"', 'output = "path/to/pairs"']
    for section in sections:
        lines += ["", "degradation {"]
        for name, value in section.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{key} = {_format(part)}" for key, part in value.items())
                lines.append(f"  {name} = {{ {inner} }}")
            else:
                lines.append(f"  {name} = {_format(value)}")
        lines.append("}")
    return "\n".join(lines) + "\n"


def _render_notes(measured: Measured, drawn: OtfOptions, bilinear: OtfOptions, exact: OtfOptions) -> str:
    """Says how near the options come, and what a hand-made pipeline cannot express."""
    rows = []
    for name, options, variance in (
        ("Real-ESRGAN, BasicSR, neosr", drawn, _mean_resize_variance(measured.scale)),
        ("traiNNer-redux", bilinear, _bilinear_variance(measured.scale)),
        ("wtp_dataset_destroyer", exact, 0.0),
    ):
        isotropic = 1.0 if options is exact else options.isotropic  # its blur is always round
        widening = spread_of_shape(float(np.median(measured.shape))) if options.shape else 1.0
        sigmas = [widening * axis for axis in simulate_sigmas(isotropic, options.blur_sigma)]
        axes = [(axis**2 + variance).clip(0) ** 0.5 for axis in sigmas]
        errors = [distance(axis, true) for axis, true in zip(axes, (measured.major, measured.minor), strict=True)]
        rows.append(f"| {name} | {_spread(axes[0])} | {_spread(axes[1])} | {errors[0]:.2f}, {errors[1]:.2f} |")
    noise = ", ".join(f"{std:.1f}" for std in measured.noise.mean(0))
    levels = ", ".join(f"{round(255 * brightness)}" for brightness in BRIGHTNESS)
    lossy = measured.qualities[measured.qualities < 100]
    jpeg = f"{exact.jpeg_share:.0%} of the photos, quality {_spread(lossy)}" if len(lossy) else "none"
    return f"""# On-the-fly options of a learned degradation

Fitted by Patina to {len(measured.major)} draws of the model at scale {measured.scale}.

| blur, sigma in pixels of the clean image | major axis, mean ± std | minor axis | distance (W1) from the model |
|---|---|---|---|
| the model | {_spread(measured.major)} | {_spread(measured.minor)} | |
{chr(10).join(rows)}

The model's noise has {noise} levels (std) at brightness {levels}. Compression: {jpeg}.

| file | for | how |
|---|---|---|
| `otf-realesrgan.yml` | BasicSR, Real-ESRGAN | copy the options into yours, at the same places |
| `otf-trainner-redux.yml` | traiNNer-redux | the same |
| `otf-neosr.toml` | neosr, `model_type = "otf"`, dataset type `otf` | copy `[degradations]` |
| `otf-wtp.hcl` | wtp_dataset_destroyer | set `input` and `output` |

## What a hand-made pipeline cannot express

Use the model itself where these matter: `patina.torch.DegradedPairs`, or pairs of `patina degrade`.

- **Shape of the blur.** The model's kernels have any shape; the options describe {_describe_shape(drawn)}. Sigmas are
  drawn uniformly and independently, so kinds of photos (sharp and shaken) run into each other, and so do width and
  noise of a photo. {_describe_lobes(measured.lobes)}
- **Size of the blur.** Real-ESRGAN draws windows of 7 to 21 pixels, for any options. A small window cuts a
  wide blur off.
- **Downsampling.** Real-ESRGAN and neosr draw area, bilinear or bicubic downsampling, and each blurs differently. On
  average they add {_mean_resize_variance(measured.scale):.2f} pixels² of variance at this scale, which the blur above
  leaves out.
- **Noise between pixels.** Neighbors correlate by {measured.neighbors:.2f} in the model; a pipeline's noise is white.
- **Noise over brightness.** A photo gets either Gaussian or Poisson noise. The model's may depend on brightness in any
  way. wtp_dataset_destroyer has Gaussian noise alone.
- **Color.** The model's channels correlate by {measured.gray:.2f}; a pipeline draws gray or independent noise.
- **JPEG.** The model uses the real photos' own tables and sampling, for the share of photos that was compressed.
  Real-ESRGAN and neosr compress every photo, twice: first at quality {NEUTRAL_QUALITY:.0f} here, which changes little.
- **Direction.** wtp_dataset_destroyer's blur is round.
"""


def _describe_shape(options: OtfOptions) -> str:
    if not options.shape:
        return "Gaussians"
    low, high = options.shape
    return f"generalized Gaussians with exponents of {low:.2f} to {high:.2f}, where 1 is a Gaussian"


def _describe_lobes(lobes: float) -> str:
    if lobes < 0.005:
        return "It has no negative lobes, so nothing is lost there."
    return f"Its negative lobes (sharpening), {lobes:.1%} of the weight, are lost."


def _spread(values: Array) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"
