"""Jobs of every kind on the real service: their results, cancel, and logs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from store.files.blobs import Blobs
from tests.pictures import encoded, photos, picture, png
from tests.worker.service import Service

CANCEL_SECONDS = 5


def by_direct_summation(hr: np.ndarray[Any, Any], line: dict[str, Any], files: dict[str, bytes]) -> Any:
    """The low-resolution image that a triplet claims, tap by tap in float64."""
    kernel = np.load(io.BytesIO(files[line["kernel"]])).astype(np.float64)
    noise = np.load(io.BytesIO(files[line["noise"]])).astype(np.float64)
    scale, (top, left) = line["scale"], line["kernel_origin"]
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    reach = 64
    padded = np.pad(hr.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode=line["padding"])
    total = np.zeros((height, width, 3))
    for row in range(kernel.shape[0]):
        for col in range(kernel.shape[1]):
            y, x = reach + top + row, reach + left + col
            total += kernel[row, col] * padded[y : y + scale * height : scale, x : x + scale * width : scale]
    return np.clip(total + 255 * noise, 0, 255).round()


def test_degrade_makes_triplets_that_add_up(service: Service, dataset: str) -> None:
    sources = {"wide.png": picture(67, 121), "tall.png": picture(90, 33, seed=1), "grey.png": picture(40, 40)[..., 0]}
    files = {name: encoded(pixels) for name, pixels in sources.items()}
    job = service.until_finished(service.degrade(dataset, files, samples=2, seed=5))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 6, "failed": 0}
    assert job["progress"]["done"] == job["progress"]["total"] == 6
    members = service.archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert len(lines) == 6
    for line in lines:
        hr = np.asarray(Image.open(io.BytesIO(files[line["source"]])).convert("RGB"))
        lr = np.asarray(Image.open(io.BytesIO(members[line["lr"]])))
        np.testing.assert_array_equal(lr, by_direct_summation(hr, line, members))


def test_the_same_request_gives_the_same_bytes_whatever_is_in_it_beside(service: Service, dataset: str) -> None:
    one, two = png(60, 60, 1), png(60, 60, 2)
    together = service.archive(
        service.until_finished(service.degrade(dataset, {"a.png": one, "b.png": two}, samples=2, seed=3))["id"]
    )
    alone = service.archive(service.until_finished(service.degrade(dataset, {"b.png": two}, samples=2, seed=3))["id"])
    other = service.archive(service.until_finished(service.degrade(dataset, {"b.png": two}, samples=2, seed=4))["id"])
    names = [name for name in alone if name != "manifest.jsonl"]
    assert len(names) == 6
    assert all(alone[name] == together[name] for name in names)
    assert any(alone[name] != other[name] for name in names)


def test_sr_in_tiles_equals_sr_in_one_piece(service: Service, dataset: str) -> None:
    photo = {"a.png": png(70, 90)}
    whole = service.archive(service.until_finished(service.sr(dataset, photo, tile=4096))["id"])
    tiled = service.archive(service.until_finished(service.sr(dataset, photo, tile=32))["id"])
    pixels = [np.asarray(Image.open(io.BytesIO(each["sr/a.png"]))).astype(int) for each in (whole, tiled)]
    assert pixels[0].shape == (280, 360, 3)
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_prefer_wait_answers_with_the_finished_job(service: Service, dataset: str) -> None:
    answer = service.http.post(
        "/sr",
        files=[("files", ("a.png", png(40, 40)))],
        data={"dataset": dataset},
        headers={"Prefer": "wait=30"},
    )
    assert answer.status_code == 200
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=30"
    assert "retry-after" not in answer.headers


def test_a_job_with_one_bad_image_does_the_others(service: Service, dataset: str) -> None:
    files = {"good.png": png(40, 40), "bad.png": png(40, 40, 9)[:-200]}
    job = service.until_finished(service.degrade(dataset, files, samples=2))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 2, "failed": 2}
    results = service.http.get(f"/jobs/{job['id']}/results").json()["items"]
    assert [(result["source"], result["code"]) for result in results if result["status"] == "failed"] == [
        ("bad.png", "corrupt_image")
    ] * 2


def test_many_small_images_are_each_as_if_alone_and_one_that_is_damaged_fails_alone(
    service: Service, dataset: str
) -> None:
    images = {f"{number}.png": png(130 + number // 10, 140, number) for number in range(40 * (os.cpu_count() or 1))}
    source = service.dataset(hr=images)
    damaged = hashlib.sha256(images["7.png"]).hexdigest()
    Blobs(service.settings.data_dir).path(damaged).write_bytes(b"something else")
    job = service.until_finished(service.degrade(dataset, {}, source=source, seed=5))
    assert job["counts"] == {"ok": len(images) - 1, "failed": 1}
    members = service.archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert [(line["source"], line["code"]) for line in lines if line["status"] == "failed"] == [
        ("7.png", "image_damaged")
    ]
    for name in ("6.png", "8.png", "39.png"):
        only = service.until_finished(service.degrade(dataset, {name: images[name]}, seed=5))
        alone = service.archive(only["id"])
        assert alone.pop("manifest.jsonl")
        assert len(alone) == 3
        assert alone.items() <= members.items()


def test_training_makes_a_model_that_degrades_and_super_resolves(service: Service) -> None:
    dataset = service.dataset(lr=photos(3, 48), hr=photos(3, 160, seed=10))
    job = service.until_finished(service.train(dataset, max_steps=4))
    assert job["status"] == "succeeded", job
    assert job["progress"]["done"] == 4
    assert job["metrics"]
    assert service.http.get(f"/datasets/{dataset}").json()["models"] == [job["model"]]
    for name in ("degrader.safetensors", "sr.safetensors"):
        assert service.http.get(f"/models/{job['model']}/files/{name}").status_code == 200
    model = service.http.get(f"/models/{job['model']}").json()
    report = service.http.get(model["links"]["report"]).json()
    assert {alarm["code"] for alarm in report["alarms"]} >= {"too_few_real_photos", "too_few_clean_photos"}
    assert job["metrics"]["score"] == report["score"] > 0
    assert job["metrics"]["alarms"] == len(report["alarms"])
    assert report == service.http.get(model["links"]["report.json"]).json()
    for work in (service.degrade(dataset, {"a.png": png(60, 60)}), service.sr(dataset, {"a.png": png(20, 20)})):
        done = service.until_finished(work)
        assert done["status"] == "succeeded"
        assert done["model"] == job["model"]


def test_squares_are_degraded_as_images_of_their_own_and_flat_ones_left_out(service: Service, dataset: str) -> None:
    pixels = picture(64, 128)
    pixels[:, 64:] = 128
    files = {"half.png": encoded(pixels)}
    wanted: dict[str, object] = {"crop": 64, "min_detail": 1, "lr_format": "webp", "leave_out": "noise"}
    job = service.until_finished(service.degrade(dataset, files, samples=2, **wanted))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 2, "failed": 0, "skipped": 2}
    members = service.archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert [(line["status"], line.get("code")) for line in lines] == [("ok", None)] * 2 + [("skipped", "too_flat")] * 2
    assert sorted(members) == [
        *("kernel/half_s001_0.npy", "kernel/half_s001_1.npy", "lr/half_s001_0.webp", "lr/half_s001_1.webp"),
        "manifest.jsonl",
    ]
    whole = service.archive(service.until_finished(service.degrade(dataset, files, samples=2, crop=64))["id"])
    for line in [json.loads(line) for line in whole["manifest.jsonl"].splitlines()]:
        top, left, height, width = line["crop"]
        lr = np.asarray(Image.open(io.BytesIO(whole[line["lr"]])))
        cut = pixels[top : top + height, left : left + width]
        np.testing.assert_array_equal(lr, by_direct_summation(cut, line, whole))
    for name in ("half_s001_0", "half_s001_1"):
        webp, lossless = (
            np.asarray(Image.open(io.BytesIO(held[f"lr/{name}.{form}"])))
            for held, form in ((members, "webp"), (whole, "png"))
        )
        np.testing.assert_array_equal(webp, lossless)
    kernels = [whole[f"kernel/half_s00{square}_0.npy"] for square in (1, 2)]
    assert kernels[0] != kernels[1]


def test_a_compression_afterwards_is_that_of_the_triplet_without_it(service: Service, dataset: str) -> None:
    files = {"a.png": png(96, 80)}
    plain, after = (
        service.archive(service.until_finished(service.degrade(dataset, files, samples=2, **more))["id"])
        for more in ({}, {"jpeg": "30-40"})
    )
    lines = [json.loads(line) for line in after["manifest.jsonl"].splitlines()]
    assert [line["status"] for line in lines] == ["ok", "ok"]
    for line in lines:
        assert line["adds_up"] is False
        assert 30 <= line["jpeg_quality"] <= 40
        buffer = io.BytesIO()
        Image.open(io.BytesIO(plain[line["lr"]])).save(buffer, "JPEG", quality=line["jpeg_quality"])
        compressed = np.asarray(Image.open(buffer))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(after[line["lr"]]))), compressed)
        assert after[line["kernel"]] == plain[line["kernel"]]


@pytest.mark.parametrize("kind", ["degrade", "sr", "train"])
def test_a_running_job_is_canceled_within_five_seconds(service: Service, dataset: str, kind: str) -> None:
    start = {
        "degrade": lambda: service.degrade(dataset, photos(1, 2400), samples=500),
        "sr": lambda: service.sr(dataset, {"a.png": png(1500, 1500)}, tile=64),
        "train": lambda: service.train(dataset, max_steps=100_000),
    }
    job_id = start[kind]()
    # Known within the first image, too.
    at_work = service.until_job(job_id, lambda job: job["progress"]["eta_seconds"] is not None)
    assert at_work["status"] == "running"
    assert at_work["progress"]["per_second"] > 0
    service.http.post(f"/jobs/{job_id}/cancel")
    began = time.monotonic()
    job = service.until_finished(job_id)
    assert job["status"] == "canceled"
    assert time.monotonic() - began < CANCEL_SECONDS
    if kind == "degrade":  # what was finished stays
        members = service.archive(job_id)
        assert len(members["manifest.jsonl"].splitlines()) == job["counts"]["ok"] > 0


def test_every_line_that_a_job_causes_has_its_id(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, {"a.png": png(40, 40)})
    service.until_logged(job=job_id, event="job ended")
    caused = service.logged(job=job_id)
    assert {line["event"]: line["process"] for line in caused} == {
        "job accepted": "api",
        "job started": "warm worker",
        "job ended": "warm worker",
    }
    by_worker = service.logged(process="warm worker")
    of_job = [number for number, line in enumerate(by_worker) if line.get("job") == job_id]
    assert of_job == list(range(of_job[0], of_job[-1] + 1)), "between these lines, none without it"
