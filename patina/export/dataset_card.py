"""The dataset card: what the pairs are, how they were generated, and the report of the model that generated them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from patina.export.formats import FORMATS, ExportFormat
from patina.schemas import Report

LICENSE_NAME = "that-of-the-source-images"
SIZES = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M"), (10**9, "1B"))


def render_dataset_card(
    name: str,
    file_format: ExportFormat,
    counts: Mapping[str | None, int],
    job: Mapping[str, Any],
    scale: int,
    report: Report | None,
) -> str:
    """Renders README.md with the metadata header of the Hugging Face hub.

    `counts` maps each split to its number of pairs; None stands for no split.
    """
    spec = FORMATS[file_format]
    splits = {split or "train": count for split, count in counts.items()}
    parts = [
        _render_header(name, spec.data_files, splits),
        f"# {name}",
        _render_description(splits, job, scale),
        f"**Usage.** {spec.usage}",
    ]
    if spec.split_folders and set(counts) != {None}:
        parts.append("Each split has its own folder.")
    parts.append(_render_report(report) if report else "The model has no report.")
    return "\n\n".join(parts) + "\n"


def _render_header(name: str, data_files: str | None, splits: Mapping[str, int]) -> str:
    lines = ["---", f"pretty_name: {json.dumps(name)}", "license: other", f"license_name: {LICENSE_NAME}"]
    lines += ["size_categories:", f"- {_size_category(sum(splits.values()))}", "task_categories:", "- image-to-image"]
    lines += ["tags:", "- super-resolution", "- blind-super-resolution", "- degradation"]
    if data_files:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {data_files.format(split=split)}"]
    return "\n".join([*lines, "---"])


def _size_category(count: int) -> str:
    """Returns the hub's name for a number of samples, such as 1K<n<10K."""
    if count < SIZES[0][0]:
        return f"n<{SIZES[0][1]}"
    for (low, low_name), (_, high_name) in itertools.pairwise(SIZES):
        if count < 10 * low:
            return f"{low_name}<n<{high_name}"
    return f"n>{SIZES[-1][1]}"


def _render_description(splits: Mapping[str, int], job: Mapping[str, Any], scale: int) -> str:
    total = sum(splits.values())
    parts = ", ".join(f"{count:,} for {split}" for split, count in splits.items())
    split_counts = f" ({parts})" if len(splits) > 1 else ""
    parameters = job["parameters"]
    size = "of the same size" if scale == 1 else f"{scale} times smaller"
    return (
        f"{total:,} pairs{split_counts} of clean images and their degraded versions, {size}. Model "
        f"`{job['model']}`, job `{job['id']}`, {parameters.get('samples', 1)} samples of each image, seed "
        f"{parameters.get('seed', 0)}. `manifest.jsonl` has a line for each pair, with the SHA-256 of its source. "
        "Generated with Patina, which learned blur and noise from real photos (after Luo et al., *Learning the "
        "Degradation Distribution for Blind Image Super-Resolution*, CVPR 2022). The source images' license applies."
    )


def _render_report(report: Report) -> str:
    kernels, noise = report.kernels, report.noise
    rows = [
        ("score (0 is perfect)", f"{report.score:.2f}"),
        ("kernel sigma, major axis, in pixels", f"{kernels.major.mean:.2f} ({_format_range(kernels.major)})"),
        ("kernel sigma, minor axis, in pixels", f"{kernels.minor.mean:.2f} ({_format_range(kernels.minor)})"),
        ("kernel diversity, 0 to 1", f"{kernels.diversity:.2f}"),
        ("noise standard deviation, 0 to 255", f"{noise.std.mean:.1f} ({_format_range(noise.std)})"),
        ("noise correlation with the right, lower neighbor", f"{noise.corr_right:.2f}, {noise.corr_down:.2f}"),
    ]
    if test := report.two_sample:
        rows.insert(1, ("real-vs-generated accuracy (50% is perfect)", f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"))
    table = [
        "| metric | mean (5th to 95th percentile) |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    alarms = [f"- **{alarm.severity}**: {alarm.message}" for alarm in report.alarms] or ["None."]
    return "\n".join(["## Report of the degradation", "", *table, "", "## Alarms", "", *alarms])


def _format_range(summary: Any) -> str:
    return f"{summary.p5:.2f} to {summary.p95:.2f}"
