"""Security properties of the containers, read from `docker-compose.yml` and `Dockerfile`."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from config.settings import Settings
from store.queue import JobQueue

ROOT = Path(__file__).parents[1]
OURS = ("patina-api", "patina-worker")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOINING: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.worker.yml").read_text())["services"]
GPUS: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text())["services"]
SHARING: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.share.yml").read_text())["services"]
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")  # a variable without which Compose refuses to start


@pytest.mark.parametrize(
    ("services", "name"), [*((SERVICES, name) for name in SERVICES), *((JOINING, name) for name in JOINING)]
)
def test_containers_have_least_privilege(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices", "userns_mode"} & service.keys()
    if service["image"] not in OURS:
        assert service["user"] not in ("root", "0"), "our images set the user themselves"
    mounts = [volume.partition(":")[0] for volume in service.get("volumes", [])]
    assert not [mount for mount in mounts if mount.startswith((".", "~")) or "docker.sock" in mount]


def test_only_the_api_is_published_and_on_loopback() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"api"}
    (port,) = SERVICES["api"]["ports"]
    assert port.startswith("${PATINA_ADDRESS:-127.0.0.1}:")
    assert COMPOSE["networks"]["inside"]["internal"] is True
    outside = {name for name, service in SERVICES.items() if "outside" in service.get("networks", [])}
    assert outside == {"api"}
    assert SERVICES["secrets"]["network_mode"] == "none"


def test_passwords_are_in_no_environment_and_no_command_line() -> None:
    ours = SERVICES["api"]["environment"]
    for server in ("DATABASE", "REDIS"):
        assert urlsplit(ours[f"PATINA_{server}_URL"]).password is None
        assert ours[f"PATINA_{server}_PASSWORD_FILE"].startswith("/run/patina/")
    assert ours["PATINA_REQUIRE_TOKENS"] == "true"
    for name in ("valkey", "postgres"):
        assert "secrets:/run/patina:ro" in SERVICES[name]["volumes"]
        assert not [key for key in SERVICES[name].get("environment", {}) if "PASSWORD" in key]
    assert "requirepass" in SERVICES["valkey"]["command"][0]


def test_a_second_computer_joins_by_three_variables() -> None:
    for service in JOINING.values():
        required = REQUIRED.findall(" ".join(str(value) for value in service["environment"].values()))
        assert required == ["PATINA_DATABASE_URL", "PATINA_REDIS_URL", "PATINA_BLOBS_URL"]
        names = {name.removeprefix("PATINA_").lower() for name in service["environment"] if name.startswith("PATINA_")}
        assert names <= Settings.model_fields.keys()
        assert "ports" not in service
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
    assert JOINING["trainer"]["command"] == SERVICES["trainer"]["command"]
    module, *arguments = JOINING["worker"]["command"]
    usage = subprocess.run(
        [sys.executable, "-m", module, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert usage.returncode == 0, usage.stderr


def test_each_kind_of_worker_has_one_gpu_by_its_number() -> None:
    assert GPUS.keys() == {"worker", "trainer"} <= SERVICES.keys()
    for name, variable in (("worker", "PATINA_WORKER_GPU"), ("trainer", "PATINA_TRAINER_GPU")):
        (device,) = GPUS[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "device_ids": [f"${{{variable}:-0}}"], "capabilities": ["gpu"]}


def test_shared_servers_listen_on_one_private_address() -> None:
    published = {name: service["ports"] for name, service in SHARING.items() if "ports" in service}
    assert published.keys() == {"postgres", "valkey"}
    for (port,) in published.values():
        assert REQUIRED.match(port).group(1) == "PATINA_PRIVATE_ADDRESS"  # type: ignore[union-attr]
    assert SHARING.keys() <= SERVICES.keys()
    for name in ("api", "worker", "trainer", "reaper"):
        assert REQUIRED.fullmatch(SHARING[name]["environment"]["PATINA_BLOBS_URL"])
    assert SHARING["worker"]["environment"].items() <= JOINING["worker"]["environment"].items()


def test_images_run_as_a_user_and_pin_hashes() -> None:
    stages = re.split(r"(?m)^FROM .* AS ", (ROOT / "Dockerfile").read_text())[1:]
    by_name = {stage.split()[0]: stage for stage in stages}
    for name in ("api", "worker"):
        assert re.findall(r"(?m)^USER (.*)$", by_name[name])[-1:] == ["patina"]
    installed = re.findall(r"pip install .*", (ROOT / "Dockerfile").read_text())
    unhashed = [line for line in installed if "--require-hashes" not in line]
    assert len(unhashed) == 2, "the project, and torch from the builder's index"
    assert [line for line in unhashed if "--no-deps" in line or line.endswith("-c constraints.txt torch")] == unhashed


@pytest.mark.parametrize(("name", "queue"), [("worker", "warm"), ("trainer", "train")])
def test_health_checks_ask_about_the_own_container(name: str, queue: str, redis_url: str) -> None:
    command = SERVICES[name]["healthcheck"]["test"]
    assert command[:2] == ["CMD", "python"]

    def check() -> int:
        environment = os.environ | {"PATINA_REDIS_URL": redis_url}
        return subprocess.run([sys.executable, *command[2:]], env=environment, check=False).returncode

    others = [
        JobQueue(redis_url).heartbeat(queue, "elsewhere-1"),
        JobQueue(redis_url).heartbeat("other", f"{socket.gethostname()}-1"),
    ]
    for other in others:
        other.ping()
    assert check() == 1
    own = JobQueue(redis_url).heartbeat(queue, f"{socket.gethostname()}-1")
    own.ping()
    assert check() == 0
