"""Two API processes with one database behind a load balancer: what clients notice of it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient

from config.settings import Settings
from patina.local.child_process import PYTHON
from store.bootstrap import prepare_database
from store.repositories.events import EventRepository, NewEvent
from store.repositories.jobs import JobRepository
from store.repositories.tokens import TokenRepository
from store.store import Store
from tests.support.images import make_png
from tests.support.proxy import find_free_port, running_caddy
from tests.support.sse import parse_events
from tests.support.store_factories import create_job
from tests.support.wait_until import wait_until

DRAIN_SECONDS = 1.0
REQUESTS_PER_MINUTE = 40
LOAD_BALANCER = """
reverse_proxy {upstreams} {{
  lb_policy round_robin
  lb_try_duration 5s
  health_uri /ready
  health_interval 100ms
}}"""


@dataclass
class Cluster:
    """API processes on ports of this computer, and a load balancer in front of them at `url`."""

    store: Store
    environment: dict[str, str]
    url: str = ""
    apis: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, port: int) -> None:
        environment = self.environment | {"PATINA_PORT": str(port)}
        self.apis[port] = subprocess.Popen([*PYTHON, "-m", "app"], env=environment, stderr=subprocess.DEVNULL)

    def wait_until_ready(self) -> None:
        for port in self.apis:
            assert wait_until(lambda port=port: self.ready_status(port) == 200, 60)  # type: ignore[misc]

    def ready_status(self, port: int) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/ready").status_code
        except httpx.HTTPError:
            return 0

    def create_token(self) -> str:
        with self.store.database.write() as session:
            return TokenRepository(session).create("a client", "admin").secret

    def client(self) -> httpx.Client:
        """Returns a client of the load balancer with a token of its own."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.create_token()}"}, timeout=30)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    settings = Settings(data_dir=folder / "data", redis_url=f"{valkey_url}?db=1", require_tokens=True)
    prepare_database(settings)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PATINA_")} | {
        "PATINA_DATA_DIR": str(settings.data_dir),
        "PATINA_REDIS_URL": settings.redis,
        "PATINA_REQUIRE_TOKENS": "true",
        "PATINA_TOKEN_REQUESTS_PER_MINUTE": str(REQUESTS_PER_MINUTE),
        "PATINA_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    cluster = Cluster(Store.open(settings), environment)
    for _ in range(2):
        cluster.start(find_free_port())
    upstreams = " ".join(f"127.0.0.1:{port}" for port in cluster.apis)
    try:
        cluster.wait_until_ready()
        with running_caddy(folder, LOAD_BALANCER.format(upstreams=upstreams)) as cluster.url:
            yield cluster
    finally:
        for api in cluster.apis.values():
            api.kill()
            api.wait()
        cluster.store.close()


def test_the_limit_of_a_token_holds_for_all_apis(cluster: Cluster) -> None:
    with cluster.client() as http:
        statuses = Counter(http.get("/jobs?limit=1").status_code for _ in range(2 * REQUESTS_PER_MINUTE))
    # A minute may begin meanwhile, which allows as many again.
    assert statuses in ({200: REQUESTS_PER_MINUTE, 429: REQUESTS_PER_MINUTE}, {200: 2 * REQUESTS_PER_MINUTE})


def test_an_upload_may_reach_another_api_with_each_part(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "c.png").write_bytes(make_png(64, 64, 3))
    with cluster.client() as http:
        dataset = http.post("/datasets", json={"name": "photos", "scale": 4}).json()["id"]
        size = (tmp_path / "c.png").stat().st_size
        tus = TusClient(f"{cluster.url}/datasets/{dataset}/uploads?role=lr", headers=dict(http.headers))
        tus.uploader(str(tmp_path / "c.png"), chunk_size=size // 7, metadata={"filename": "c.png"}).upload()
        (image,) = http.get(f"/datasets/{dataset}/images").json()["items"]
    assert (image["name"], image["width"]) == ("c.png", 64)


# The last test: afterwards one API is left.
def test_one_api_ends_without_a_failed_request(cluster: Cluster) -> None:
    with cluster.store.database.write() as session:
        job = create_job(session, "train", total=4).id
        EventRepository(session).add(job, [NewEvent("log", {"level": "info", "message": "first"})])
    leaving, staying = cluster.apis
    statuses: list[int] = []
    stopped = threading.Event()

    def send_requests() -> None:
        with httpx.Client() as http:
            while not stopped.wait(0.05):
                statuses.append(http.get(f"{cluster.url}/health").status_code)

    with ExitStack() as stack:
        http = stack.enter_context(cluster.client())
        streams = [stack.enter_context(http.stream("GET", f"/jobs/{job}/events")).iter_lines() for _ in range(2)]
        # Round robin: each stream is one API's. Reading both to the first event makes sure that they are open.
        texts = [[next(stream) for _ in range(4)] for stream in streams]
        sender = threading.Thread(target=send_requests)
        sender.start()
        cluster.apis[leaving].send_signal(signal.SIGTERM)
        try:
            assert wait_until(lambda: cluster.ready_status(leaving) == 503), "it still answers, and says that it leaves"
            assert cluster.ready_status(staying) == 200
            assert cluster.apis[leaving].wait(30) == -signal.SIGTERM
        finally:
            stopped.set()
            sender.join()
        assert set(statuses) == {200}
        assert len(statuses) > 5
        with cluster.store.database.write() as session:
            EventRepository(session).add(job, [NewEvent("log", {"level": "info", "message": "second"})])
            JobRepository(session).request_cancel(job)
        for text, stream in zip(texts, streams, strict=True):
            text.extend(stream)
        ended = [text for text in texts if any(line.startswith("retry: ") for line in text)]
        assert len(ended) == 1, "the other stream was not interrupted"
        seen = list(parse_events(ended[0]))
        rest = http.get(f"/jobs/{job}/events", headers={"Last-Event-ID": seen[-1].id})
        seen += parse_events(rest.text.splitlines())
    assert [event.data["data"]["message"] for event in seen if event.kind == "log"] == ["first", "second"]
    assert seen[-1].kind == "end"
