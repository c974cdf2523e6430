"""Start-up time: `patina up` until it is ready, and the imports of the API.

python -m bench.start
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.measure import Metric, Summary, compute_ratio, run
from patina.local.session import temporary_service

API = "import app.__main__"
FRAMEWORKS = "import alembic, fastapi, PIL.Image, prometheus_client, redis, rq, sqlalchemy.orm, structlog, uvicorn"
TORCH_LOADED = "import app.__main__, sys; sys.exit('torch' in sys.modules)"


def measure(options: argparse.Namespace) -> list[Metric]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # let Python cache its bytecode, as it does for users
    rounds = 2 if options.quick else 5
    for code in (API, "import torch"):  # load the files into the page cache
        _time_python(code)
    first, again, api, frameworks, torch = (list[float]() for _ in range(5))
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            first.append(_time_until_ready(Path(folder)))
            again.append(_time_until_ready(Path(folder)))
        api.append(_time_python(API))
        frameworks.append(_time_python(FRAMEWORKS))
        torch.append(_time_python("import torch"))
    loaded = subprocess.run([sys.executable, "-c", TORCH_LOADED], check=False).returncode
    return [
        _make_metric(
            "`patina up` to ready, new data folder", first, 5, f"`import torch`: {Summary.from_values(torch)} s"
        ),
        _make_metric("`patina up` to ready", again, 5, ""),
        Metric(
            "`patina up` to ready, relative to `import torch`",
            compute_ratio(again, torch),
            "times",
            target=3,
            threshold=6,
            lower_is_better=True,
        ),
        _make_metric("`import app`", api, 1, f"its frameworks: {Summary.from_values(frameworks)} s"),
        Metric(
            "`import app`, relative to its frameworks",
            compute_ratio(api, frameworks),
            "times",
            target=1.5,
            threshold=2.5,
            lower_is_better=True,
        ),
        Metric("`import app`: torch loaded (0 is no)", loaded, target=0, threshold=0, lower_is_better=True),
    ]


def _make_metric(name: str, seconds: list[float], target: float, limit: str) -> Metric:
    return Metric(name, Summary.from_values(seconds), "s", target=target, lower_is_better=True, limit=limit)


def _time_until_ready(data_dir: Path) -> float:
    began = time.perf_counter()
    with temporary_service(data_dir, embedded=True):
        return time.perf_counter() - began


def _time_python(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    run(__doc__, measure)
