"""Starts the training process: `python -m worker.jobs.train_main JOB ATTEMPT PARENT`, called by `worker.jobs.train`.

`PARENT` is the process id of the worker. When the worker dies, this process dies too, even while it loads torch.
With `--processes N` it is torchrun, and starts N of these processes, whose parent it is.
"""

from __future__ import annotations

import argparse
import os
import sys

from config.process import die_with_parent


def launch(job: str, attempt: int, processes: int) -> int:
    """Runs a training in several processes. If one fails, all end. Returns the exit status."""
    # Each loads torch, which must not happen before `die_with_parent`.
    from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.run import main  # noqa: PLC0415

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun would warn; the training sets its threads itself
    options = ["--standalone", "--nproc-per-node", str(processes), "--module"]
    try:
        main([*options, "worker.jobs.train_main", job, str(attempt), str(os.getpid())])
    except SignalException:  # all processes have ended; their worker knows why
        return 1
    except ChildFailedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m worker.jobs.train_main", description=__doc__)
    parser.add_argument("job")
    parser.add_argument("attempt", type=int)
    parser.add_argument("parent", type=int)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    if arguments.processes > 1:
        sys.exit(launch(arguments.job, arguments.attempt, arguments.processes))
    from worker.jobs.train_process import run_training

    run_training(arguments.job, arguments.attempt)
