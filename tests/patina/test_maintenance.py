"""`patina doctor`, `backup` and `restore` beside a service that runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from tests.patina.conftest import Up
from tests.patina.sessions import shell
from tests.patina.test_cli import said
from tests.pictures import png
from tests.wait_until import soon

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"


def test_a_service_that_runs_is_backed_up_damaged_mended_and_restored(up: Up, tmp_path: Path) -> None:
    running = up.start()
    with httpx.Client(base_url=running.url) as http:
        dataset = http.post("/datasets", json={"name": "photos", "scale": 4}).json()["id"]
        sent = http.post(f"/datasets/{dataset}/images?role=lr", files={"files": ("a.png", png(64, 64))}).json()
        file = tmp_path / "patina.tar"
        made = up.command("backup", str(file))
        assert made.returncode == 0, said(made)
        assert "1 stored files" in said(made)
        assert "is there already" in said(up.command("backup", str(file)))
        assert said(up.command("doctor", "--deep")).endswith("All is well.")

        sha256 = sent["accepted"][0]["sha256"]
        (up.data_dir / "blobs" / sha256[:2] / sha256).unlink()
        found = up.command("doctor")
        assert found.returncode == 1
        assert f"The photo 'a.png' (lr) of dataset {dataset} is lost." in said(found)
        assert up.command("doctor", "--mend").returncode == 0
        assert http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 0, "hr": 0}

        refused = up.command("restore", str(file))
        assert refused.returncode == 1
        assert "--replace" in said(refused)
        restored = up.command("restore", str(file), "--replace")
        assert restored.returncode == 0, said(restored)
        assert http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 1, "hr": 0}
        assert up.command("doctor", "--deep").returncode == 0


def test_the_commands_of_the_page_about_operations(up: Up, tmp_path: Path) -> None:
    up.start()
    commands = re.findall(r"^    (patina .+)$", OPERATIONS.read_text(), re.MULTILINE)
    assert {command.split()[1] for command in commands} == {"token", "backup", "restore", "doctor"}
    into_an_empty_one = next(command for command in commands if "into an empty service" in command)
    commands.remove(into_an_empty_one)
    session = "\n".join(commands).replace("/mnt/elsewhere", str(tmp_path))
    told = shell(
        session.replace("token revoke ID", "token revoke $(patina token list | awk '/anna/ {print $1}')"), up, tmp_path
    )
    assert told.count("All is well.") == 3
    assert re.search("dashboard +read", said(up.command("token", "list")))


def test_logs_that_are_no_terminal_s_are_json_and_tell_a_job_s_story_by_its_id(up: Up) -> None:
    running = up.start()
    with httpx.Client(base_url=running.url, timeout=60) as http:
        dataset = http.post("/datasets", json={"name": "photos", "scale": 4}).json()["id"]
        for role, side in (("lr", 48), ("hr", 160)):
            files = {"files": ("a.png", png(side, side))}
            assert http.post(f"/datasets/{dataset}/images?role={role}", files=files).is_success
        job = http.post(f"/datasets/{dataset}/train", json={"max_steps": 100_000}).json()["id"]
        assert soon(lambda: http.get(f"/jobs/{job}").json()["status"] == "running", seconds=60)
        assert http.post(f"/jobs/{job}/cancel").is_success
        assert soon(lambda: http.get(f"/jobs/{job}").json()["status"] == "canceled", seconds=60)
    lines = [json.loads(line) for line in (up.temporary.parent / "log").read_text().splitlines()]
    story = [line for line in lines if line.get("job") == job]
    events = [event for line in story if (event := line["event"]).startswith(("job ", "cancel "))]
    # The worker tells of its beginning, and the API of the cancel, at the same moment.
    assert sorted(events[1:3]) == ["cancel requested", "job started"]
    assert (events[0], *events[3:]) == ("job accepted", "job ended")
    assert {line["process"] for line in story} >= {"api", "train worker"}
    assert all(line["timestamp"] and line["level"] for line in lines)
