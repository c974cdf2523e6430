"""Alert rules and dashboard: the rules do what their tests say, and all metrics that they name exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from config.settings import Settings
from scripts.test_tools import MISSING, find_tool
from tests.support.api import serve_api

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "patina.json"
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",), "gauge": ("",)}


@pytest.mark.parametrize("command", ["check rules alerts.yml", "test rules alerts_test.yml"])
def test_alert_rules_pass_their_tests(command: str) -> None:
    promtool = find_tool("promtool")
    if promtool is None:
        pytest.skip(MISSING.format("promtool"))
    done = subprocess.run(
        [promtool, *command.split()], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test() -> None:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    fired = {test["alertname"] for case in cases for test in case["alert_rule_test"] if test["exp_alerts"]}
    assert {rule["alert"] for rule in group["rules"]} == fired


def test_metrics_of_alerts_dashboard_and_docs_exist(tmp_path: Path, redis_url: str) -> None:
    with serve_api(Settings(data_dir=tmp_path, redis_url=redis_url)) as api:
        families = list(text_string_to_metric_families(api.http.get("/metrics").text))
    series = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    queries = [
        query["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for query in panel.get("targets", [])
    ]
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
    named = set(re.findall(r"patina_[a-z_]+", " ".join(queries + [rule["expr"] for rule in rules])))
    assert named
    assert named <= series
    page = (ROOT / "docs" / "monitoring.md").read_text()
    documented = {name + suffix for name in re.findall(r"`(patina_[a-z_]+)`", page) for suffix in ("", "_bucket")}
    assert [family.name for family in families if not {family.name, f"{family.name}_total"} & documented] == []
