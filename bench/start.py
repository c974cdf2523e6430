"""How long a user waits: `patina up` until it is ready for work, and the API's imports.

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

from bench.measure import Figure, Spread, ratio, run
from patina.local.session import started

API = "import app.__main__"
FRAMEWORKS = "import alembic, fastapi, PIL.Image, prometheus_client, redis, rq, sqlalchemy.orm, structlog, uvicorn"
TORCH_LOADED = "import app.__main__, sys; sys.exit('torch' in sys.modules)"


def measure(options: argparse.Namespace) -> list[Figure]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what Python has compiled once it keeps, as it does for users
    rounds = 2 if options.quick else 5
    for code in (API, "import torch"):  # from now on the files are in memory
        _seconds_of(code)
    first, again, api, frameworks, torch = ([] for _ in range(5))  # type: list[float], list[float], list[float], list[float], list[float]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            first.append(_seconds_until_ready(Path(folder)))
            again.append(_seconds_until_ready(Path(folder)))
        api.append(_seconds_of(API))
        frameworks.append(_seconds_of(FRAMEWORKS))
        torch.append(_seconds_of("import torch"))
    loaded = subprocess.run([sys.executable, "-c", TORCH_LOADED], check=False).returncode
    return [
        _seconds("`patina up` to ready, new data folder", first, 5, f"`import torch` alone: {Spread.of(torch)} s"),
        _seconds("`patina up` to ready", again, 5, ""),
        Figure("to that import", ratio(again, torch), "times", aim=3, floor=6, lower_is_better=True),
        _seconds("`import app`", api, 1, f"its frameworks alone: {Spread.of(frameworks)} s"),
        Figure("to these", ratio(api, frameworks), "times", aim=1.5, floor=2.5, lower_is_better=True),
        Figure("`import app`, modules of torch loaded", loaded, aim=0, floor=0, lower_is_better=True),
    ]


def _seconds(name: str, seconds: list[float], aim: float, limit: str) -> Figure:
    return Figure(name, Spread.of(seconds), "s", aim=aim, lower_is_better=True, limit=limit)


def _seconds_until_ready(data_dir: Path) -> float:
    began = time.perf_counter()
    with started(data_dir, embedded=True):
        return time.perf_counter() - began


def _seconds_of(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    run(__doc__, measure)
