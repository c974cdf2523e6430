"""Whether what was promised is kept: every job done, its results those of an undisturbed run, each of them once."""

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

from bench.chaos.client import Client, Files, Work, sha256
from bench.chaos.load import Ledger, Promise, lost_images

UNDISTURBED_AT_ONCE = 4  # requests; the service takes one job after another
MODEL_FILES = ("degrader.safetensors", "sr.safetensors")


@dataclass
class Verdict:
    losses: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)  # what the service said it had lost, and had again when asked again


@dataclass
class Result:
    """What a job made: the SHA-256 of each file, and its manifest's lines without the ids."""

    files: dict[str, str]
    lines: list[str]
    doubled: list[str]


def settle(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """Every job comes to its end."""
    for promise in ledger.promises:
        job = client.until_finished(promise.job)
        expected = ("succeeded", "canceled") if promise.may_stay_canceled else ("succeeded",)
        if job["status"] not in expected and not (promise.told and job["error"]["code"] == "all_failed"):
            verdict.losses.append(f"{promise.work.kind} {promise.job} has {job['status']}: {job['error']}")


def compare(client: Client, ledger: Ledger, quiet: Client, quiet_model: str, verdict: Verdict) -> None:
    """Every job's results with those of the same request to a service that nothing disturbs."""

    def check(promise: Promise) -> None:
        try:
            made = _made(client, promise, verdict)
            wanted = _undisturbed(quiet, ledger, promise, quiet_model)
        except Exception as error:  # whatever it is, the promise is not kept
            verdict.losses.append(f"{promise.work.kind} {promise.job}: {type(error).__name__}: {error}")
            return
        verdict.duplicates += [f"{promise.job}: {name} twice" for name in made.doubled]
        verdict.losses += [f"{promise.work.kind} {promise.job}: {text}" for text in _differences(promise, made, wanted)]

    with ThreadPoolExecutor(UNDISTURBED_AT_ONCE) as pool:
        list(pool.map(check, ledger.promises))


def _differences(promise: Promise, made: Result, wanted: Result) -> Iterator[str]:
    for name, digest in made.files.items():
        if wanted.files.get(name) != digest:
            yield f"{name} is not what an undisturbed run makes"
    if promise.may_stay_canceled or promise.told:  # it need not be whole
        return
    if missing := wanted.files.keys() - made.files.keys():
        yield f"{len(missing)} of {len(wanted.files)} files are missing"
    if set(made.lines) != set(wanted.lines):
        yield "its manifest is not that of an undisturbed run"


def _made(client: Client, promise: Promise, verdict: Verdict) -> Result:
    """What a job has made; where the service breaks off for a damaged file, the request is sent again first."""
    try:
        return _result(client, promise.work, promise.job)
    except httpx.TransportError:
        again = promise.work.submit(client, promise.dataset, _model_of(client, promise.job))
        repeated = client.until_finished(again)
        if repeated["status"] != "succeeded" or lost_images(client, repeated):
            raise RuntimeError(f"sent again, it has {repeated['status']}: {repeated['error']}") from None
        verdict.mended.append(promise.job)
        return _result(client, promise.work, promise.job)


def _undisturbed(quiet: Client, ledger: Ledger, promise: Promise, model: str) -> Result:
    work = promise.work
    source = work.fields.get("source")
    dataset = _copy_dataset(quiet, ledger.datasets[source or promise.dataset])
    if source:
        work = Work(work.kind, {}, work.fields | {"source": dataset})
    job = work.submit(quiet, dataset, model)
    ended = quiet.until_finished(job)
    if ended["status"] != "succeeded":
        raise RuntimeError(f"undisturbed, it has {ended['status']}: {ended['error']}")
    return _result(quiet, work, job)


def _copy_dataset(quiet: Client, photos: dict[str, Files]) -> str:
    dataset = str(quiet.json("POST", "/datasets", json={"name": "copy", "scale": 4})["id"])
    for role, files in photos.items():
        parts = [("files", (name, data)) for name, data in files.items()]
        quiet.ask("POST", f"/datasets/{dataset}/images", params={"role": role}, files=parts)
    return dataset


def _result(client: Client, work: Work, job: str) -> Result:
    """Raises httpx.TransportError where it breaks off."""
    if work.kind == "train":
        model = client.json("GET", f"/jobs/{job}")["model"]
        weights = {name: client.ask("GET", f"/models/{model}/files/{name}").content for name in MODEL_FILES}
        return Result({name: sha256(data) for name, data in weights.items()}, [], [])
    data = client.once(f"/jobs/{job}/archive", format="tar")
    files, lines, names = dict[str, str](), list[str](), Counter[str]()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            opened = archive.extractfile(member)
            content = opened.read() if opened else b""
            names[member.name] += 1
            if member.name == "manifest.jsonl":
                lines = [_without_ids(json.loads(line)) for line in content.splitlines()]
            else:
                files[member.name] = sha256(content)
    samples = Counter(lines)
    doubled = [name for counted in (names, samples) for name, count in counted.items() if count > 1]
    return Result(files, lines, doubled)


def _without_ids(line: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in line.items() if key != "model"}, sort_keys=True)


def _model_of(client: Client, job: str) -> str | None:
    model: str | None = client.json("GET", f"/jobs/{job}")["model"]
    return model


def compare_datasets(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """Every photo that was taken is there, once; what was deleted is not."""
    for dataset, roles in ledger.datasets.items():
        for role, files in roles.items():
            there = Counter(image["sha256"] for image in client.pages(f"/datasets/{dataset}/images", role=role))
            lost = {sha256(data) for data in files.values()} - there.keys()
            verdict.losses += [f"dataset {dataset} lacks the photo {photo}" for photo in lost]
            verdict.duplicates += [f"dataset {dataset}: {photo} twice" for photo in there if there[photo] > 1]
    known = {dataset["id"] for dataset in client.pages("/datasets", limit=1000)}
    verdict.losses += [f"dataset {lost} is gone" for lost in ledger.datasets.keys() - known]
    verdict.duplicates += [f"dataset {left} was deleted and is there" for left in known & set(ledger.deleted)]


def compare_jobs(client: Client, ledger: Ledger, verdict: Verdict) -> None:
    """No job is there that nobody asked for, as from a request that was answered late."""
    known = {job["id"] for job in client.pages("/jobs", limit=1000)}
    promised = {promise.job for promise in ledger.promises}  # before any is sent again for the comparison
    verdict.losses += [f"job {lost} is gone" for lost in promised - known]
    verdict.duplicates += [f"job {more} was asked for by nobody" for more in known - promised]
