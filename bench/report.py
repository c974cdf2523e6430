"""Writes docs/benchmarks.md and the table at the top of README.md from the results files in bench/results/.

    python -m bench.report           # rewrite both
    python -m bench.report --name    # print the name of a results file for this commit and machine

The page shows the newest metrics of each script.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import Metric, describe_machine

RESULTS = Path(__file__).parent / "results"  # YYYY-MM-DD-COMMIT-MACHINE.json
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
README = Path(__file__).parents[1] / "README.md"
README_TABLE = re.compile(r"(?<=<!-- bench/report\.py writes this table -->\n\n).*?(?=<!-- end -->)", re.DOTALL)
TITLES = {
    "peers": "Against what people would use instead",
    "recovery": "Accuracy on simulated cameras",
    "recipe": "Presets on one simulated camera",
    "report_ranking": "Agreement of the report with the ground truth",
    "pair_ranking": "Agreement of the report with what pairs are worth",
    "real_photos": "Photos of real devices",
    "degrade_job": "Degrade jobs",
    "degrade_operator": "The degradation operator",
    "pair_speed": "Pairs for a training loop",
    "sr": "Super-resolution",
    "train_step": "The joint training step",
    "gpu": "On a GPU",
    "api": "The API",
    "lists": "Lists of many records",
    "page": "The page in the browser",
    "start": "Start-up",
    "chaos": "Fault injection",
}
INTRODUCTION = """# Benchmarks

`make benchmarks` measures, stores the metrics in `bench/results/` and writes this page. It shows the newest metrics of
each script. [CONTRIBUTING](../CONTRIBUTING.md#run-one-benchmark-or-fault-injection) says how to run a single one. How
the numbers came about, including the failed attempts, is in [experiments](experiments/README.md).

A value is a median, with the lowest and highest round in parentheses. A **bold** value misses its target. Targets are
for a quiet machine with two CPU cores.

`recovery.py` is an external benchmark of services over HTTP; it is not part of this repository. Given its folder
(`BENCH`), `bench/recipe.py` runs it in its own process, and `bench/report_ranking.py` and `bench/peers.py` use its
cameras. `PHOTOS` is a folder of photos. *Own* pairs come from the simulated camera itself, the best possible ones
([glossary](glossary.md)).
"""

PEERS_INTRODUCTION = """PSNR of the luma in dB · LPIPS (lower is better), on photos of each simulated camera. The same
small network is trained with the same steps on each kind of pairs. More in [experiment
031](experiments/031-hand-made-pipelines.md).

![One photograph, upscaled by networks trained on each kind of pairs](pictures/peers.jpg)
"""


def name_results_file() -> Path:
    """Returns the path of today's results file for this commit and machine."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    machine = re.sub(r"[^a-z0-9]+", "-", describe_machine().lower()).strip("-")
    date = datetime.now(UTC).date().isoformat()
    return RESULTS / f"{date}-{commit.stdout.strip() or 'unknown'}-{machine}.json"


def load_newest(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Returns the newest run of each script, with its `machine` and `commit`. Keys are names of scripts."""
    newest: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.glob("*.json")):
        results = json.loads(file.read_text())
        machine, commit = results.pop("machine"), file.stem.split("-")[3]
        for script, run in results.items():
            if script not in newest or run["time"] >= newest[script]["time"]:
                newest[script] = run | {"machine": machine, "commit": commit}
    return newest


def render_page(runs: dict[str, dict[str, Any]]) -> str:
    order = [script for script in TITLES if script in runs] + sorted(runs.keys() - TITLES.keys())
    return "\n".join([INTRODUCTION, *(_render_section(script, runs[script]) for script in order)])


def render_peers(metrics: list[Metric]) -> str:
    """Renders PSNR and LPIPS of bench/peers.py as a table: a row for each upscaler, a column for each camera."""
    values: dict[str, dict[str, dict[str, str]]] = {}  # by row, camera and unit
    for metric in metrics:
        camera, _, row = metric.name.partition(": ")
        if metric.unit == "LPIPS" or (metric.unit == "dB" and metric.target is None):
            digits = 3 if metric.unit == "LPIPS" else 2
            values.setdefault(row, {}).setdefault(camera, {})[metric.unit] = f"{metric.median:.{digits}f}"
    cameras = list(dict.fromkeys(camera for row in values.values() for camera in row))
    lines = [f"| upscaled by | {' | '.join(cameras)} |", "|---" * (len(cameras) + 1) + "|"]
    for row, cells in values.items():
        shown = (" · ".join(cells.get(camera, {}).values()) or "–" for camera in cameras)
        name = f"a small network, trained on {row}" if "pairs" in row else row
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def replace_readme_table(readme: str, runs: dict[str, dict[str, Any]]) -> str:
    """Returns the README with today's table of bench/peers.py. Unchanged if that was never run."""
    if "peers" not in runs:
        return readme
    table = render_peers([Metric.from_json(stored) for stored in runs["peers"]["metrics"]])
    return README_TABLE.sub(lambda _: f"{table}\n\n", readme)


def _render_section(script: str, run: dict[str, Any]) -> str:
    metrics = [Metric.from_json(stored) for stored in run["metrics"]]
    table = ""
    if script == "peers":
        table = f"{PEERS_INTRODUCTION}\n{render_peers(metrics)}\n\n"
        metrics = [metric for metric in metrics if metric.target is not None or metric.unit == "s"]
    load = "" if run["load"] is None else f", load {run['load']:.1f} before the start"
    lines = [
        f"## {TITLES.get(script, script)}\n",
        f"    {run['command']}\n",
        f"{run['time'][:10]}, commit {run['commit']}, {run['machine']}{load}.\n",
        f"{table}| what | value | target | limit, and the share of it that is reached |",
        "|---|---|---|---|",
        *map(_render_row, metrics),
    ]
    return "\n".join(lines) + "\n"


def _render_row(metric: Metric) -> str:
    missed = metric.target is not None and not (
        metric.median <= metric.target if metric.lower_is_better else metric.median >= metric.target
    )
    cells = str(metric).split(" | ")
    return " | ".join([cells[0], f"**{cells[1]}**" if missed else cells[1], *cells[2:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", action="store_true", help="print the name of a new results file")
    if parser.parse_args().name:
        print(name_results_file().relative_to(Path.cwd()))
        return
    runs = load_newest()
    PAGE.write_text(render_page(runs))
    README.write_text(replace_readme_table(README.read_text(), runs))


if __name__ == "__main__":
    main()
