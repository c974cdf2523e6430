"""Starts the training process: `python -m worker.jobs.train_main JOB ATTEMPT PARENT`, called by `worker.jobs.train`.

`PARENT` is the process id of the worker. When the worker dies, this process dies too, even while it loads torch.
"""

from __future__ import annotations

import argparse

from config.process import die_with_parent

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m worker.jobs.train_main", description=__doc__)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("parent", type=int)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    from worker.jobs.train_process import run_training

    run_training(arguments.job, arguments.attempt)
