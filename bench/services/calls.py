"""Calls that most benchmarks make: they create a dataset, and run a job to its end."""

from __future__ import annotations

from typing import Any

import httpx


def create_dataset(http: httpx.Client, name: str, scale: int) -> str:
    """Returns its id."""
    return str(http.post("/datasets", json={"name": name, "scale": scale}).raise_for_status().json()["id"])


def run_job(http: httpx.Client, path: str, **request: Any) -> dict[str, Any]:
    """Submits a job and returns it when it has ended."""
    return wait_until_ended(http, http.post(path, **request).raise_for_status().json()["id"])


def wait_until_ended(http: httpx.Client, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = http.get(f"/jobs/{job_id}", params={"wait": 20}).raise_for_status().json()
        if job["status"] not in ("queued", "running"):
            return job
