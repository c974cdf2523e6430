"""Whether a worker of this computer or container is alive: `python -m worker.health warm`, or `train`.

Exits with 0 if one is, else with 1 and a message. Workers elsewhere do not count.
"""

from __future__ import annotations

import argparse
import socket
import sys

from config.settings import settings
from store.errors import QueueUnavailable
from store.queue import QUEUES, JobQueue


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.health", description=__doc__)
    parser.add_argument("queue", choices=QUEUES)
    queue, host = parser.parse_args().queue, socket.gethostname()
    try:
        workers = JobQueue(settings().redis).workers(queue)
    except QueueUnavailable as error:
        sys.exit(f"The queue is unavailable: {error}")
    if not any(name.startswith(f"{host}-") for name in workers):
        sys.exit(f"No {queue} worker of {host} is connected to the queue.")


if __name__ == "__main__":
    main()
