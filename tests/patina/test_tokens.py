"""`patina token`, and a service that listens to other computers, with real processes."""

from __future__ import annotations

import socket

import httpx

from tests.patina.conftest import Up
from tests.patina.test_cli import said


def test_names_are_shown_as_they_are_and_ids_whole(up: Up) -> None:
    names = ["[/x]", "[red]anna", "a name that is longer than most, of somebody whose computer has a long name, too"]
    ids = [up.command("token", "create", name).stdout.split("_")[1] for name in names]
    listed = up.command("token", "list")
    assert listed.returncode == 0, said(listed)
    lines = listed.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ids
    assert all(f" {name} " in line for name, line in zip(names, lines, strict=True))


def test_beyond_this_computer_it_starts_with_a_token_only_and_the_command_line_uses_it(up: Up) -> None:
    up.environment["PATINA_HOST"] = "0.0.0.0"
    refused = up.command("up", "--port", "0")
    assert refused.returncode == 1
    assert "patina token create NAME" in said(refused)

    made = up.command("token", "create", "anna")
    assert made.returncode == 0, said(made)
    token = made.stdout.strip()
    assert token.startswith("patina_")
    listed = up.command("token", "list")
    assert "anna" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout

    running = up.start()
    port = httpx.URL(running.url).port
    with httpx.Client(base_url=f"http://{socket.gethostbyname(socket.gethostname())}:{port}") as http:
        assert http.get("/ready").status_code == 200
        assert http.get("/jobs").status_code == 401
        assert http.get("/jobs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert "This service needs a token" in said(up.command("jobs"))
    up.environment["PATINA_TOKEN"] = token
    assert up.command("jobs").returncode == 0
    assert up.command("token", "revoke", token.split("_")[1]).returncode == 0
    assert "was revoked" in said(up.command("jobs"))
    assert up.command("token", "revoke", "nobody").returncode == 1
    log = (up.temporary.parent / "log").read_text()
    assert token not in log
