"""Compares the service with its ledger: every job done once, with the results of an undisturbed run."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.chaos.client import Client, Files, JobRequest, sha256
from bench.chaos.load import AcceptedJob, Ledger, lost_images
from store.model_files import DEGRADER, SR

CONCURRENCY = 4  # requests to the reference service, which runs one job after another


@dataclass
class Verdict:
    losses: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)  # jobs whose damaged results were repaired by the same request


@dataclass
class Results:
    """The SHA-256 of each result file of a job, and the lines of its manifest without ids."""

    files: dict[str, str]
    lines: list[str]
    duplicates: list[str]


def check_all_finished(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """Waits for every accepted job and checks its status."""
    for job in ledger.accepted_jobs:
        finished = client.wait_until_finished(job.job_id)
        expected = ("succeeded", "canceled") if job.may_stay_canceled else ("succeeded",)
        all_lost = job.reported_losses and (finished["error"] or {}).get("code") == "all_failed"
        if finished["status"] not in expected and not all_lost:
            verdict.losses.append(f"{job.request.kind} {job.job_id} is {finished['status']}: {finished['error']}")


def compare_results(client: Client, ledger: Ledger, reference: Client, reference_model: str, verdict: Verdict) -> None:
    """Compares every job's results with those of the same request to an undisturbed service."""

    def check(job: AcceptedJob) -> None:
        try:
            actual = _fetch_or_repair(client, job, verdict)
            expected = _run_on_reference(reference, ledger, job, reference_model)
        except Exception as error:  # any error means that the results are lost
            verdict.losses.append(f"{job.request.kind} {job.job_id}: {type(error).__name__}: {error}")
            return
        verdict.duplicates += [f"{job.job_id}: {name} twice" for name in actual.duplicates]
        verdict.losses += [f"{job.request.kind} {job.job_id}: {text}" for text in _differences(job, actual, expected)]

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(check, ledger.accepted_jobs))


def _differences(job: AcceptedJob, actual: Results, expected: Results) -> Iterator[str]:
    for name, digest in actual.files.items():
        if expected.files.get(name) != digest:
            yield f"{name} differs from that of an undisturbed run"
    if job.may_stay_canceled or job.reported_losses:  # it may be incomplete
        return
    if missing := expected.files.keys() - actual.files.keys():
        yield f"{len(missing)} of {len(expected.files)} files are missing"
    if set(actual.lines) != set(expected.lines):
        yield "the manifest differs from that of an undisturbed run"


def _fetch_or_repair(client: Client, job: AcceptedJob, verdict: Verdict) -> Results:
    """Fetches the results. If the download is cut off because of a damaged file, submits the request again first."""
    try:
        return _fetch_results(client, job.request, job.job_id)
    except httpx.TransportError:
        repeated_id = job.request.submit(client, job.dataset, _model_of(client, job.job_id))
        repeated = client.wait_until_finished(repeated_id)
        if repeated["status"] != "succeeded" or lost_images(client, repeated):
            raise RuntimeError(f"submitted again, it is {repeated['status']}: {repeated['error']}") from None
        verdict.repaired.append(job.job_id)
        return _fetch_results(client, job.request, job.job_id)


def _run_on_reference(reference: Client, ledger: Ledger, job: AcceptedJob, model: str) -> Results:
    request = job.request
    source = request.fields.get("source")
    dataset = _copy_dataset(reference, ledger.datasets[source or job.dataset])
    if source:
        request = JobRequest(request.kind, {}, request.fields | {"source": dataset})
    job_id = request.submit(reference, dataset, model)
    finished = reference.wait_until_finished(job_id)
    if finished["status"] != "succeeded":
        raise RuntimeError(f"undisturbed, it is {finished['status']}: {finished['error']}")
    return _fetch_results(reference, request, job_id)


def _copy_dataset(reference: Client, photos: dict[str, Files]) -> str:
    dataset = str(reference.json("POST", "/datasets", json={"name": "copy", "scale": 4})["id"])
    for role, files in photos.items():
        parts = [("files", (name, data)) for name, data in files.items()]
        reference.request("POST", f"/datasets/{dataset}/images", params={"role": role}, files=parts)
    return dataset


def _fetch_results(client: Client, request: JobRequest, job_id: str) -> Results:
    """Raises httpx.TransportError if the download is cut off."""
    if request.kind == "train":
        model = client.json("GET", f"/jobs/{job_id}")["model"]
        weights = {name: client.request("GET", f"/models/{model}/files/{name}").content for name in (DEGRADER, SR)}
        return Results({name: sha256(data) for name, data in weights.items()}, [], [])
    data = client.download_once(f"/jobs/{job_id}/archive", format="tar")
    files, lines, names = dict[str, str](), list[str](), Counter[str]()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            content = opened.read() if opened else b""
            names[member.name] += 1
            if member.name == "manifest.jsonl":
                lines = [_remove_ids(json.loads(line)) for line in content.splitlines()]
            else:
                files[member.name] = sha256(content)
    duplicates = [name for counts in (names, Counter(lines)) for name, count in counts.items() if count > 1]
    return Results(files, lines, duplicates)


def _remove_ids(line: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in line.items() if key != "model"}, sort_keys=True)


def _model_of(client: Client, job_id: str) -> str | None:
    model: str | None = client.json("GET", f"/jobs/{job_id}")["model"]
    return model


def compare_datasets(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """Checks that every accepted photo exists once, and that deleted datasets are gone."""
    for dataset, roles in ledger.datasets.items():
        for role, files in roles.items():
            stored = Counter(image["sha256"] for image in client.list_all(f"/datasets/{dataset}/images", role=role))
            lost = {sha256(data) for data in files.values()} - stored.keys()
            verdict.losses += [f"dataset {dataset} lacks the photo {photo}" for photo in lost]
            verdict.duplicates += [f"dataset {dataset}: {photo} twice" for photo in stored if stored[photo] > 1]
    existing = {dataset["id"] for dataset in client.list_all("/datasets", limit=1000)}
    verdict.losses += [f"dataset {lost} is missing" for lost in ledger.datasets.keys() - existing]
    undeleted = existing & set(ledger.deleted_datasets)
    verdict.duplicates += [f"dataset {dataset} was deleted but still exists" for dataset in undeleted]


def compare_jobs(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """Checks that exactly the accepted jobs exist. Call this before `compare_results`, which submits more."""
    existing = {job["id"] for job in client.list_all("/jobs", limit=1000)}
    accepted = {job.job_id for job in ledger.accepted_jobs}
    verdict.losses += [f"job {lost} is missing" for lost in accepted - existing]
    verdict.duplicates += [f"nobody requested job {extra}" for extra in existing - accepted]
