"""`patina doctor`, `backup` and `restore` next to a running service."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from tests.support.images import make_png
from tests.support.local_service import LocalService, normalize_output
from tests.support.shell import run_shell
from tests.support.wait_until import wait_until

DOCS = Path(__file__).parents[2] / "docs"


def test_backup_repair_and_restore_a_running_service(up: LocalService, tmp_path: Path) -> None:
    running = up.start()
    with httpx.Client(base_url=running.url) as http:
        dataset = http.post("/datasets", json={"name": "photos", "scale": 4}).json()["id"]
        upload = http.post(f"/datasets/{dataset}/images?role=lr", files={"files": ("a.png", make_png(64, 64))}).json()
        file = tmp_path / "patina.tar"
        backup = up.command("backup", str(file))
        assert backup.returncode == 0, normalize_output(backup)
        assert "1 stored files" in normalize_output(backup)
        assert "already exists" in normalize_output(up.command("backup", str(file)))
        assert normalize_output(up.command("doctor", "--deep")).endswith("No problems found.")

        sha256 = upload["accepted"][0]["sha256"]
        (up.data_dir / "blobs" / sha256[:2] / sha256).unlink()
        checked = up.command("doctor")
        assert checked.returncode == 1
        assert f"The photo 'a.png' (lr) of dataset {dataset} is missing." in normalize_output(checked)
        assert up.command("doctor", "--repair").returncode == 0
        assert http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 0, "hr": 0}

        refused = up.command("restore", str(file))
        assert refused.returncode == 1
        assert "--replace" in normalize_output(refused)
        restored = up.command("restore", str(file), "--replace")
        assert restored.returncode == 0, normalize_output(restored)
        assert http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 1, "hr": 0}
        assert up.command("doctor", "--deep").returncode == 0


def test_commands_of_the_operations_guides(up: LocalService, tmp_path: Path) -> None:
    up.start()
    pages = (DOCS / "deploy.md").read_text() + (DOCS / "backup.md").read_text()
    commands = re.findall(r"^    (patina .+)$", pages, re.MULTILINE)
    assert {command.split()[1] for command in commands} == {"token", "backup", "restore", "doctor", "migrate-blobs"}
    commands = [command for command in commands if "migrate-blobs" not in command]  # see tests/store/test_bucket.py
    into_an_empty_one = next(command for command in commands if "into an empty service" in command)
    commands.remove(into_an_empty_one)
    session = "\n".join(commands).replace("/mnt/elsewhere", str(tmp_path))
    user = re.search(r"token create (\w+) +#", session, re.MULTILINE)
    assert user
    token_id = f"$(patina token list | awk '/{user[1]}/ {{print $1}}')"
    output = run_shell(session.replace("token revoke ID", f"token revoke {token_id}"), up, tmp_path).stdout
    assert output.count("No problems found.") == 3
    assert re.search("dashboard +read", normalize_output(up.command("token", "list")))


def test_logs_in_a_pipe_are_json_and_name_the_job(up: LocalService) -> None:
    """The lines with a job's id show its whole course."""
    running = up.start()
    with httpx.Client(base_url=running.url, timeout=60) as http:
        dataset = http.post("/datasets", json={"name": "photos", "scale": 4}).json()["id"]
        for role, side in (("lr", 48), ("hr", 160)):
            files = {"files": ("a.png", make_png(side, side))}
            assert http.post(f"/datasets/{dataset}/images?role={role}", files=files).is_success
        job = http.post(f"/datasets/{dataset}/train", json={"max_steps": 100_000}).json()["id"]
        assert wait_until(lambda: http.get(f"/jobs/{job}").json()["status"] == "running", seconds=60)
        assert http.post(f"/jobs/{job}/cancel").is_success
        assert wait_until(lambda: http.get(f"/jobs/{job}").json()["status"] == "canceled", seconds=60)
    lines = [json.loads(line) for line in up.log.read_text().splitlines()]
    job_lines = [line for line in lines if line.get("job") == job]
    events = [event for line in job_lines if (event := line["event"]).startswith(("job ", "cancel "))]
    # The worker logs its start and the API the cancel at the same moment.
    assert sorted(events[1:3]) == ["cancel requested", "job started"]
    assert (events[0], *events[3:]) == ("job accepted", "job ended")
    assert {line["process"] for line in job_lines} >= {"api", "train worker"}
    assert all(line["timestamp"] and line["level"] for line in lines)
