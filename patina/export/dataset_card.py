"""The dataset card: what the pairs are, how they were made, and how good the degradation is that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from patina.client.schemas import Report
from patina.export.formats import Form

READ_BY = {
    Form.basicsr: "Paired folders: `dataroot_gt: hr`, `dataroot_lq: lr`; the meta-info of BasicSR and traiNNer-redux "
    "is `meta_info.txt`, that of Real-ESRGAN and neosr `meta_info_pairs.txt`.",
    Form.lmdb: "BasicSR's LMDB: `dataroot_gt: hr.lmdb`, `dataroot_lq: lr.lmdb`, `io_backend: lmdb`.",
    Form.parquet: "`datasets.load_dataset` of this folder; `noise` is a `.npy` file, which "
    "`np.load(io.BytesIO(row['noise']))` reads.",
    Form.webdataset: "`webdataset.WebDataset` of the shards: `hr.png`, `lr.png`, `kernel.npy`, `noise.npy` and `json` "
    "under each key.",
}
DATA_FILES = {Form.parquet: "data/{split}-*", Form.webdataset: "{split}-*.tar"}


def card(
    name: str, form: Form, counts: Mapping[str | None, int], job: Mapping[str, Any], scale: int, report: Report | None
) -> str:
    """README.md, with the head that Hugging Face's hub and `datasets` look for."""
    sides = {side or "train": count for side, count in counts.items()}
    parts = [_head(name, form, sides), f"# {name}", _what(sides, job, scale), f"**To read it.** {READ_BY[form]}"]
    if form in (Form.basicsr, Form.lmdb) and set(counts) != {None}:
        parts.append("Each side of the split has a folder of its own.")
    parts.append(_report(report) if report else "The model has no report.")
    return "\n\n".join(parts) + "\n"


def _head(name: str, form: Form, sides: Mapping[str, int]) -> str:
    lines = ["---", f"pretty_name: {json.dumps(name)}", "task_categories:", "- image-to-image", "tags:"]
    lines += ["- super-resolution", "- blind-super-resolution", "- degradation"]
    if form in DATA_FILES:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for side in sides:
            lines += [f"  - split: {side}", f"    path: {DATA_FILES[form].format(split=side)}"]
    return "\n".join([*lines, "---"])


def _what(sides: Mapping[str, int], job: Mapping[str, Any], scale: int) -> str:
    total = sum(sides.values())
    split = f" ({', '.join(f'{count:,} for {side}' for side, count in sides.items())})" if len(sides) > 1 else ""
    parameters = job["parameters"]
    return (
        f"{total:,} pairs{split} of clean images and what a learned camera makes of them, {scale} times smaller. Model "
        f"`{job['model']}`, job `{job['id']}`, {parameters.get('samples', 1)} samples of each image, seed "
        f"{parameters.get('seed', 0)}; `manifest.jsonl` has a line for each pair, with the SHA-256 of its source. Made "
        "with Patina, which learned blur and noise from real photos (after Luo et al., *Learning the Degradation "
        "Distribution for Blind Image Super-Resolution*, CVPR 2022). The images' licence is that of their source."
    )


def _report(report: Report) -> str:
    kernels, noise = report.kernels, report.noise
    rows = [
        ("score (0 is perfect)", f"{report.score:.2f}"),
        ("width of kernels, major axis, in pixels", f"{kernels.major.mean:.2f} ({_ends(kernels.major)})"),
        ("width of kernels, minor axis, in pixels", f"{kernels.minor.mean:.2f} ({_ends(kernels.minor)})"),
        ("diversity of kernels, 0 to 1", f"{kernels.diversity:.2f}"),
        ("level of noise, of 255", f"{noise.level.mean:.1f} ({_ends(noise.level)})"),
        ("correlation of noise to the right, below", f"{noise.right:.2f}, {noise.below:.2f}"),
    ]
    if test := report.two_sample:
        rows.insert(1, ("told from real photos (50% is perfect)", f"{test.accuracy:.0%} ± {test.uncertainty:.0%}"))
    table = ["| figure | mean (of nine in ten) |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    alarms = [f"- **{alarm.severity}**: {alarm.message}" for alarm in report.alarms] or ["None."]
    return "\n".join(["## The degradation, as its report tells", "", *table, "", "## Alarms", "", *alarms])


def _ends(spread: Any) -> str:
    return f"{spread.p5:.2f} to {spread.p95:.2f}"
