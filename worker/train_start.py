"""Starts the process that trains: `python -m worker.train_start JOB ATTEMPT PARENT`, called by `worker.train`.

`PARENT` is the process id of the worker; when that is gone, so is this one, even while torch is still being loaded.
"""

from __future__ import annotations

import argparse

from config.parent import die_with_parent

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m worker.train_start", description=__doc__)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("parent", type=int)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    from worker.train_child import run

    run(arguments.job, arguments.attempt)
