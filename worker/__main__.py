"""Runs a worker process: `python -m worker warm` for degrade and sr jobs, `python -m worker train` for trainings."""

from __future__ import annotations

import argparse
import sys

from config.logging import configure_logging
from config.settings import settings
from config.tracing import MissingTracesError, configure_tracing
from store.data_folder import MISCONFIGURED, require_writable
from store.queue import INFERENCE, TRAIN
from worker.execute import execute_job
from worker.runtime.job_log import JobLogHandler
from worker.runtime.worker import run_worker

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("queue", choices=(INFERENCE, TRAIN))
    arguments = parser.parse_args()
    configure_logging(settings(), f"{arguments.queue} worker", JobLogHandler(settings()))
    require_writable(settings().data_dir)
    try:
        configure_tracing(settings(), f"{arguments.queue} worker")
    except MissingTracesError as error:
        print(f"patina: {error}", file=sys.stderr)
        sys.exit(MISCONFIGURED)
    run_worker(settings(), arguments.queue, execute_job)
