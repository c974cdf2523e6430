"""Measures workers on this computer: `python -m bench.cluster --real`.

It runs an API, maintenance, and one or two workers with one core each, on PostgreSQL and Valkey. It prints how much
faster two workers are than one, how long a small job waits behind large ones of another token, and how long a request
for 400,000 images takes, and delays others. Two workers are compared with the mean of one on each core; the two cores
must be free, so look at the share of them that the workers had. `python -m bench.cluster.simulate` says what to expect
of more workers.
"""

from __future__ import annotations

import argparse
import os

from bench.cluster.real import measure
from bench.measure import run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--real", action="store_true", required=True, help="measure real processes")
    parser.add_argument("--images", type=int, help="number of images of a job; default 120, or 24 with --quick")
    parser.add_argument(
        "--items", type=int, help="images of the large request; default 400,000, or 20,000 with --quick"
    )
    usable = sorted(os.sched_getaffinity(0))
    cores = [usable[0], usable[1 % len(usable)]]
    parser.add_argument("--cores", type=int, nargs=2, default=cores, help="of the workers, which should be free")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison of one worker with two")


if __name__ == "__main__":
    run(__doc__, measure, add_arguments)
