"""Faults of a cluster: of its servers and networks, and of processes that it has several of."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from bench.chaos.environment import LEASE_SECONDS, Environment
from bench.chaos.faults import (
    Fault,
    Faults,
    block_database,
    disconnect_during_download,
    disconnect_during_upload,
    freeze,
    kill,
    kill_everything,
    kill_valkey,
    kill_valkey_and_delete_its_files,
    restart,
    terminate,
)
from bench.services.service import API, DECODER, REAPER, TRAIN_PROCESS, TRAIN_WORKER, WORKER, send_signal
from tests.support.s3_proxy import S3Proxy

SHORT_SECONDS, LONG_SECONDS = (1.0, LEASE_SECONDS + 3.0), (20.0, 28.0)  # a bucket is given up after 20 seconds
LONG_SHARE = 0.15
SLOW_SECONDS = 0.4  # for each chunk in each direction


def cut_connections(environment: Environment) -> bool:
    """Ends all connections to PostgreSQL, which goes on."""
    if environment.postgresql is None:
        return False
    environment.postgresql.cut_connections()
    return True


def kill_program(name: str) -> Fault:
    return lambda environment: send_signal(environment.service.find_program(name), signal.SIGKILL)


def freeze_program(name: str) -> Fault:
    """Stops a server for a while: what it was asked for, and what comes, waits."""

    def inject(environment: Environment) -> bool:
        frozen = environment.service.find_program(name)
        if not send_signal(frozen, signal.SIGSTOP):
            return False
        time.sleep(_draw_seconds(environment))
        send_signal(frozen, signal.SIGCONT)
        return True

    return inject


def restart_load_balancer(environment: Environment) -> bool:
    """Ends it, at once or in order. Its supervisor starts it again."""
    number = environment.random.choice((signal.SIGKILL, signal.SIGTERM))
    return send_signal(environment.service.find_program("caddy"), number)


def throttle_bucket(environment: Environment) -> bool:
    """Each request is answered with 503 Slow Down."""
    return _disturb_bucket(environment, lambda door: door.shut(busy=True))


def disconnect_bucket(environment: Environment) -> bool:
    """All connections break off, and new ones are closed."""
    return _disturb_bucket(environment, lambda door: door.shut())


def slow_bucket(environment: Environment) -> bool:
    def slow_down(door: S3Proxy) -> None:
        door.delay = SLOW_SECONDS

    return _disturb_bucket(environment, slow_down)


def cut_network(environment: Environment) -> bool:
    """A worker loses all packets to and from database, queue and bucket for a while."""
    cluster = environment.cluster
    if cluster is None or cluster.network is None:
        return False
    name = environment.random.choice(sorted(cluster.worker_names))
    cluster.network.cut(name)
    time.sleep(_draw_seconds(environment))
    cluster.network.restore(name)
    return True


def damage_local_copy(environment: Environment) -> bool:
    """Overwrites bytes of a copy that a process keeps of a file of the bucket."""
    copies = sorted(environment.service.folder.glob("*/cache/*"))
    environment.random.shuffle(copies)
    for copy in copies:
        try:
            with copy.open("r+b") as opened:
                opened.seek(environment.random.randrange(max(1, opened.seek(0, os.SEEK_END))))
                opened.write(environment.random.randbytes(8))
        except FileNotFoundError:  # it was deleted meanwhile
            continue
        return True
    return False


def _disturb_bucket(environment: Environment, disturb: Callable[[S3Proxy], None]) -> bool:
    """Disturbs the door of the bucket for a while. Returns False if there is no bucket."""
    bucket = environment.cluster.bucket if environment.cluster else None
    if bucket is None:
        return False
    disturb(bucket.door)
    time.sleep(_draw_seconds(environment))
    bucket.door.open, bucket.door.delay = True, 0.0
    return True


def _draw_seconds(environment: Environment) -> float:
    is_long = environment.random.random() < LONG_SHARE
    return environment.random.uniform(*(LONG_SECONDS if is_long else SHORT_SECONDS))


# Each with its frequency among 300 faults.
CLUSTER_FAULTS: Faults = {
    "kill -9 of a warm worker": (40, kill(WORKER)),
    "kill -9 of the train worker": (12, kill(TRAIN_WORKER)),
    "kill -9 of its training process": (10, kill(TRAIN_PROCESS)),
    "kill -9 of an API": (24, kill(API)),
    "kill -9 of the reaper": (12, kill(REAPER)),
    "kill -9 of a decoder": (8, kill(DECODER)),
    "kill -9 of Valkey": (12, kill_valkey),
    "kill -9 of Valkey, its files deleted": (8, kill_valkey_and_delete_its_files),
    "kill -9 of the bucket's server": (10, kill_program("weed")),
    "kill -9 of all processes but PostgreSQL": (4, kill_everything),
    "Ctrl-C and restart": (3, restart),
    "SIGTERM while jobs run": (20, terminate),
    "worker frozen for longer than its lease": (14, freeze(WORKER, TRAIN_WORKER, TRAIN_PROCESS)),
    "API or reaper frozen": (10, freeze(API, REAPER)),
    "bucket's server frozen": (14, freeze_program("weed")),
    "bucket throttles": (14, throttle_bucket),
    "bucket slow": (8, slow_bucket),
    "bucket disconnected": (8, disconnect_bucket),
    "network of a worker cut": (26, cut_network),
    "PostgreSQL restarted": (8, block_database),
    "connections to PostgreSQL ended": (12, cut_connections),
    "load balancer restarted": (10, restart_load_balancer),
    "local copy of a file changed": (6, damage_local_copy),
    "client disconnects during an upload": (8, disconnect_during_upload),
    "client disconnects during a download": (8, disconnect_during_download),
}
