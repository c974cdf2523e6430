"""The Helm chart, rendered by helm: its resources are valid, and fit the code."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy import text

from config.settings import Settings
from scripts.test_tools import MISSING, find_tool
from store.store import Store
from tests.support.store_factories import create_claimed_job, create_job

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "patina"
KUBERNETES = "1.37"
VALUES = {
    "bucket": ["storage.blobsUrl=s3://bucket/prefix"],
    "volume": ["storage.existingClaim=shared", "api.replicas=1", "workers.warm.gpus=0"],
    "everything": [
        "storage.blobsUrl=s3://bucket",
        "keda.enabled=true",
        "ingress.enabled=true",
        "ingress.tlsSecretName=tls",
        "ingress.className=nginx",
        "serviceMonitor.enabled=true",
        "settings.PATINA_RESULT_DAYS=7",
        "api.trustedProxies=10.0.0.0/8",
    ],
}
CUSTOM_RESOURCES = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}  # have no schema here


@pytest.fixture(autouse=True)
def _helm() -> None:
    if find_tool("helm") is None:
        pytest.skip(MISSING.format("helm"))


def run_helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(find_tool("helm")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@cache
def render(case: str) -> list[dict[str, Any]]:
    options = [option for value in VALUES[case] for option in ("--set", value)]
    rendered = run_helm("template", "patina", str(CHART), *options)
    assert rendered.returncode == 0, rendered.stderr
    return [resource for resource in yaml.safe_load_all(rendered.stdout) if resource]


def find_pods(case: str) -> dict[str, dict[str, Any]]:
    """Returns the pod specs by the resource's name."""
    return {
        resource["metadata"]["name"]: resource["spec"]["template"]["spec"]
        for resource in render(case)
        if resource["kind"] in ("Deployment", "Job")
    }


def find_resources(case: str, kind: str) -> list[dict[str, Any]]:
    return [resource for resource in render(case) if resource["kind"] == kind]


def read_environment(pod: dict[str, Any]) -> dict[str, str]:
    (container,) = pod["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


@pytest.mark.parametrize("case", VALUES)
def test_resources_match_the_schemas_of_kubernetes(case: str) -> None:
    kinds = set()
    for resource in render(case):
        kinds.add(resource["kind"])
        if resource["kind"] not in CUSTOM_RESOURCES:
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    assert kinds >= {"Deployment", "Job", "PodDisruptionBudget", "Service"}
    assert (kinds >= {"Ingress", *CUSTOM_RESOURCES}) == (case == "everything")


def test_lint_finds_no_problem() -> None:
    assert run_helm("lint", "--strict", str(CHART), "--set", VALUES["bucket"][0]).returncode == 0


def test_the_chart_says_what_is_missing() -> None:
    refused = run_helm("template", "patina", str(CHART))
    assert "Set storage.blobsUrl or storage.existingClaim." in refused.stderr


def test_pods_have_least_privilege() -> None:
    for name, pod in find_pods("everything").items():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_pods_run_the_commands_of_docker_compose() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    commands = {name: pod["containers"][0]["args"] for name, pod in find_pods("bucket").items()}
    assert commands == {
        "patina-api": ["app"],
        "patina-warm": services["worker"]["command"],
        "patina-train": services["trainer"]["command"],
        "patina-reaper": services["reaper"]["command"],
        "patina-migrate": services["migrate"]["command"],
    }


@pytest.mark.parametrize("case", VALUES)
def test_environment_variables_are_settings(case: str) -> None:
    for pod in find_pods(case).values():
        names = [name for name in read_environment(pod) if name.startswith("PATINA_")]
        assert {name.removeprefix("PATINA_").lower() for name in names} <= Settings.model_fields.keys()
    Settings.model_validate({"blobs_url": read_environment(find_pods("bucket")["patina-api"])["PATINA_BLOBS_URL"]})


def test_grace_periods_leave_the_time_that_processes_take() -> None:
    pods = find_pods("bucket")
    drain = float(read_environment(pods["patina-api"])["PATINA_DRAIN_SECONDS"])
    probe = pods["patina-api"]["containers"][0]["readinessProbe"]
    assert drain >= probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert pods["patina-api"]["terminationGracePeriodSeconds"] > drain + 5
    training = pods["patina-train"]
    for_a_checkpoint = float(read_environment(training)["PATINA_SHUTDOWN_GRACE_SECONDS"])
    assert for_a_checkpoint > Settings().shutdown_grace_seconds
    assert training["terminationGracePeriodSeconds"] >= for_a_checkpoint + 30


def test_workers_ask_for_gpus_and_budgets_select_pods() -> None:
    def gpus(case: str, name: str) -> int:
        return int(find_pods(case)[name]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))

    assert (gpus("bucket", "patina-warm"), gpus("volume", "patina-warm"), gpus("bucket", "patina-api")) == (1, 0, 0)
    labels = {
        resource["metadata"]["name"]: resource["spec"]["template"]["metadata"]["labels"]
        for resource in find_resources("bucket", "Deployment")
    }
    for budget in find_resources("bucket", "PodDisruptionBudget"):
        assert budget["spec"]["selector"]["matchLabels"] == labels[budget["metadata"]["name"]]


def count_workers_needed(store: Store) -> dict[str, int]:
    """Runs the queries of KEDA's triggers."""
    found = {}
    for scaled in find_resources("everything", "ScaledObject"):
        (trigger,) = scaled["spec"]["triggers"]
        with store.database.read() as session:
            found[scaled["metadata"]["name"]] = int(session.execute(text(trigger["metadata"]["query"])).scalar_one())
    return found


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_scaling_follows_what_waits_and_what_runs(store: Store) -> None:
    assert count_workers_needed(store) == {"patina-warm": 0, "patina-train": 0}
    with store.database.write() as session:
        create_claimed_job(session, "sr")
        create_job(session, "train")
        create_job(session, "train")
        create_job(session, "degrade", num_items=401)
    assert count_workers_needed(store) == {"patina-warm": 1 + 5, "patina-train": 2}
    with store.database.write() as session:
        create_job(session, "degrade", num_items=1_000_000)
    most = yaml.safe_load((CHART / "values.yaml").read_text())["workers"]["warm"]["scaling"]["max"]
    assert count_workers_needed(store)["patina-warm"] == 1 + 5 + most
