"""`patina token`, and a service that is reachable from other computers, with real processes."""

from __future__ import annotations

import socket

import httpx

from tests.support.local_service import LocalService, normalize_output


def test_list_shows_full_names_and_ids(up: LocalService) -> None:
    names = ["[/x]", "[red]alice", "a name that is longer than most, of somebody whose computer has a long name, too"]
    ids = [up.command("token", "create", name).stdout.split("_")[1] for name in names]
    listed = up.command("token", "list")
    assert listed.returncode == 0, normalize_output(listed)
    lines = listed.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ids
    assert all(f" {name} " in line for name, line in zip(names, lines, strict=True))


def test_exposed_service_requires_a_token(up: LocalService) -> None:
    """It starts only when a token exists. The command line sends PATINA_TOKEN."""
    up.environment["PATINA_HOST"] = "0.0.0.0"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "patina token create NAME" in normalize_output(refused)

    created = up.command("token", "create", "alice")
    assert created.returncode == 0, normalize_output(created)
    token = created.stdout.strip()
    assert token.startswith("patina_")
    listed = up.command("token", "list")
    assert "alice" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout

    running = up.start()
    port = httpx.URL(running.url).port
    with httpx.Client(base_url=f"http://{socket.gethostbyname(socket.gethostname())}:{port}") as http:
        assert http.get("/ready").status_code == 200
        assert http.get("/jobs").status_code == 401
        assert http.get("/jobs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert "A token is required" in normalize_output(up.command("jobs"))
    up.environment["PATINA_TOKEN"] = token
    assert up.command("jobs").returncode == 0
    assert up.command("token", "revoke", token.split("_")[1]).returncode == 0
    assert "was revoked" in normalize_output(up.command("jobs"))
    assert up.command("token", "revoke", "nobody").returncode == 1
    log = up.log.read_text()
    assert token not in log
