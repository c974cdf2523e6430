"""Jobs of every kind on the real service: results, cancel, logs."""

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

from imaging.png import PngWriter
from store.files.folder_blobs import blob_path
from tests.support.images import encode_image, make_photos, make_picture, make_png
from tests.support.running_service import Service

CANCEL_SECONDS = 5


def sum_directly(hr: np.ndarray[Any, Any], line: dict[str, Any], files: dict[str, bytes]) -> Any:
    """Computes the low-resolution image of a triplet tap by tap in float64."""
    kernel = np.load(io.BytesIO(files[line["kernel"]])).astype(np.float64)
    noise = np.load(io.BytesIO(files[line["noise"]])).astype(np.float64)
    scale, (top, left) = line["scale"], line["kernel_origin"]
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    radius = 64
    padded = np.pad(hr.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), mode=line["padding"])
    total = np.zeros((height, width, 3))
    for row in range(kernel.shape[0]):
        for col in range(kernel.shape[1]):
            y, x = radius + top + row, radius + left + col
            total += kernel[row, col] * padded[y : y + scale * height : scale, x : x + scale * width : scale]
    return np.clip(total + 255 * noise, 0, 255).round()


def test_triplets_add_up(service: Service, dataset: str) -> None:
    sources = {
        "wide.png": make_picture(67, 121),
        "tall.png": make_picture(90, 33, seed=1),
        "gray.png": make_picture(40, 40)[..., 0],
    }
    files = {name: encode_image(pixels) for name, pixels in sources.items()}
    job = service.wait_until_finished(service.degrade(dataset, files, samples=2, seed=5))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 6, "failed": 0}
    assert job["progress"]["done"] == job["progress"]["total"] == 6
    members = service.read_archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert len(lines) == 6
    for line in lines:
        hr = np.asarray(Image.open(io.BytesIO(files[line["source"]])).convert("RGB"))
        lr = np.asarray(Image.open(io.BytesIO(members[line["lr"]])))
        np.testing.assert_array_equal(lr, sum_directly(hr, line, members))


def test_results_do_not_depend_on_other_images_of_the_request(service: Service, dataset: str) -> None:
    one, two = make_png(60, 60, 1), make_png(60, 60, 2)
    together = service.read_archive(
        service.wait_until_finished(service.degrade(dataset, {"a.png": one, "b.png": two}, samples=2, seed=3))["id"]
    )
    alone = service.read_archive(
        service.wait_until_finished(service.degrade(dataset, {"b.png": two}, samples=2, seed=3))["id"]
    )
    other = service.read_archive(
        service.wait_until_finished(service.degrade(dataset, {"b.png": two}, samples=2, seed=4))["id"]
    )
    names = [name for name in alone if name != "manifest.jsonl"]
    assert len(names) == 6
    assert all(alone[name] == together[name] for name in names)
    assert any(alone[name] != other[name] for name in names)


def test_the_same_bytes_twice_are_two_results(service: Service, dataset: str) -> None:
    """As the frames of a still film. Each is computed once."""
    still, other = make_png(40, 40, 1), make_png(40, 40, 2)
    frames = {"f1.png": still, "f2.png": still, "g.png": other, "f3.png": still}
    jobs = service.sr(dataset, frames), service.degrade(dataset, frames, samples=2, crop=32)
    results = []
    for job_id in jobs:
        job = service.wait_until_finished(job_id)
        assert job["progress"]["done"] == job["progress"]["total"] == job["counts"]["ok"]
        files = service.read_archive(job_id)
        lines = [json.loads(line) for line in files["manifest.jsonl"].splitlines()]
        results.append([(line["source"], files[line.get("sr") or line["kernel"]]) for line in lines])
    sr, degraded = results
    assert [source for source, _ in sr] == list(frames)
    assert len({data for source, data in sr if source != "g.png"}) == 1
    assert [source for source, _ in degraded] == [name for name in frames for _ in range(4 * 2)]
    assert len({data for _, data in degraded}) == 2 * 4 * 2


def sr_of(service: Service, dataset: str, photo: bytes, **options: object) -> Image.Image:
    """Returns the one result of an sr job."""
    job = service.wait_until_finished(service.sr(dataset, {"a/ä.png": photo}, **options))
    assert job["status"] == "succeeded", job["error"]
    (name,) = (name for name in service.read_archive(job["id"]) if name.startswith("sr/a/ä."))
    result = service.http.get(service.http.get(f"/jobs/{job['id']}/results").json()["items"][0]["links"]["sr"])
    opened = Image.open(io.BytesIO(result.content))
    assert result.headers["content-type"] == Image.MIME[opened.format or ""]
    assert name == f"sr/a/ä.{ {'JPEG': 'jpg', 'TIFF': 'tif'}.get(opened.format or '', (opened.format or '').lower()) }"
    return opened


def test_sr_in_other_formats_and_depths(service: Service, dataset: str) -> None:
    rgb = make_picture(30, 40)
    plain = np.asarray(sr_of(service, dataset, encode_image(rgb))).astype(int)
    for image_format, tolerance in (("tiff", 0), ("jpeg", 1), ("avif", 2), ("webp", 10)):
        fields = {} if image_format == "tiff" else {"quality": 100}
        other = sr_of(service, dataset, encode_image(rgb), format=image_format, **fields)
        assert other.format == image_format.upper()
        assert np.abs(np.asarray(other.convert("RGB")) - plain).mean() <= tolerance
    deep = io.BytesIO()
    with PngWriter(deep, 40, 30, bits=16) as png:
        png.write(rgb.astype(np.uint16) * 257)
    assert sr_of(service, dataset, deep.getvalue(), depth=8).mode == "RGB"
    kept = sr_of(service, dataset, deep.getvalue(), format="tiff", depth="keep")
    assert kept.tag_v2[258] == (16, 16, 16)  # type: ignore[attr-defined]


def test_sr_enlarges_transparency_without_hidden_colors(service: Service, dataset: str) -> None:
    """A gray square on transparent green stays gray to its edge."""
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[10:30, 10:30] = (128, 128, 128, 255)
    result = sr_of(service, dataset, encode_image(rgba))
    assert (result.mode, result.size) == ("RGBA", (160, 160))
    pixels = np.asarray(result).astype(int)
    assert (pixels[60:100, 60:100, 3] == 255).all()
    assert (pixels[:24, :24, 3] == 0).all()
    flat = np.asarray(sr_of(service, dataset, encode_image(np.full((40, 40, 3), 128, np.uint8)))).astype(int)
    visible = pixels[..., 3] > 0
    np.testing.assert_allclose(pixels[visible][:, :3], flat[visible], atol=1)


def test_sr_in_tiles_equals_sr_of_the_whole_image(service: Service, dataset: str) -> None:
    photo = {"a.png": make_png(70, 90)}
    whole = service.read_archive(service.wait_until_finished(service.sr(dataset, photo, tile=4096))["id"])
    tiled = service.read_archive(service.wait_until_finished(service.sr(dataset, photo, tile=32))["id"])
    pixels = [np.asarray(Image.open(io.BytesIO(each["sr/a.png"]))).astype(int) for each in (whole, tiled)]
    assert pixels[0].shape == (280, 360, 3)
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_prefer_wait_returns_the_finished_job(service: Service, dataset: str) -> None:
    answer = service.http.post(
        "/sr",
        files=[("files", ("a.png", make_png(40, 40)))],
        data={"dataset": dataset},
        headers={"Prefer": "wait=30"},
    )
    assert answer.status_code == 200
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["preference-applied"] == "wait=30"
    assert "retry-after" not in answer.headers


def test_one_bad_image_fails_alone(service: Service, dataset: str) -> None:
    files = {"good.png": make_png(40, 40), "bad.png": make_png(40, 40, 9)[:-200]}
    job = service.wait_until_finished(service.degrade(dataset, files, samples=2))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 2, "failed": 2}
    results = service.http.get(f"/jobs/{job['id']}/results").json()["items"]
    assert [(result["source"], result["code"]) for result in results if result["status"] == "failed"] == [
        ("bad.png", "corrupt_image")
    ] * 2


def test_small_images_in_a_shared_batch_are_independent(service: Service, dataset: str) -> None:
    """Each has the result that it has alone, and a damaged one fails alone."""
    images = {
        f"{number}.png": make_png(130 + number // 10, 140, number) for number in range(40 * (os.cpu_count() or 1))
    }
    source = service.create_dataset(hr=images)
    damaged = hashlib.sha256(images["7.png"]).hexdigest()
    blob_path(service.settings.data_dir, damaged).write_bytes(b"something else")
    job = service.wait_until_finished(service.degrade(dataset, {}, source=source, seed=5))
    assert job["counts"] == {"ok": len(images) - 1, "failed": 1}
    members = service.read_archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert [(line["source"], line["code"]) for line in lines if line["status"] == "failed"] == [
        ("7.png", "stored_image_corrupt")
    ]
    for name in ("6.png", "8.png", "39.png"):
        only = service.wait_until_finished(service.degrade(dataset, {name: images[name]}, seed=5))
        alone = service.read_archive(only["id"])
        assert alone.pop("manifest.jsonl")
        assert len(alone) == 3
        assert alone.items() <= members.items()


def test_a_trained_model_degrades_and_super_resolves(service: Service) -> None:
    dataset = service.create_photo_dataset()
    job = service.wait_until_finished(service.train(dataset, max_steps=4))
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
    for started in (
        service.degrade(dataset, {"a.png": make_png(60, 60)}),
        service.sr(dataset, {"a.png": make_png(20, 20)}),
    ):
        finished = service.wait_until_finished(started)
        assert finished["status"] == "succeeded"
        assert finished["model"] == job["model"]


def test_crops_are_degraded_as_images_and_flat_ones_skipped(service: Service, dataset: str) -> None:
    pixels = make_picture(64, 128)
    pixels[:, 64:] = 128
    files = {"half.png": encode_image(pixels)}
    options: dict[str, object] = {"crop": 64, "min_detail": 1, "lr_format": "webp", "leave_out": "noise"}
    job = service.wait_until_finished(service.degrade(dataset, files, samples=2, **options))
    assert job["status"] == "succeeded"
    assert job["counts"] == {"ok": 2, "failed": 0, "skipped": 2}
    members = service.read_archive(job["id"])
    lines = [json.loads(line) for line in members["manifest.jsonl"].splitlines()]
    assert [(line["status"], line.get("code")) for line in lines] == [("ok", None)] * 2 + [("skipped", "too_flat")] * 2
    assert sorted(members) == [
        *("kernel/half_s001_0.npy", "kernel/half_s001_1.npy", "lr/half_s001_0.webp", "lr/half_s001_1.webp"),
        "manifest.jsonl",
    ]
    whole = service.read_archive(service.wait_until_finished(service.degrade(dataset, files, samples=2, crop=64))["id"])
    for line in [json.loads(line) for line in whole["manifest.jsonl"].splitlines()]:
        top, left, height, width = line["crop"]
        lr = np.asarray(Image.open(io.BytesIO(whole[line["lr"]])))
        crop = pixels[top : top + height, left : left + width]
        np.testing.assert_array_equal(lr, sum_directly(crop, line, whole))
    for name in ("half_s001_0", "half_s001_1"):
        webp, lossless = (
            np.asarray(Image.open(io.BytesIO(archive[f"lr/{name}.{suffix}"])))
            for archive, suffix in ((members, "webp"), (whole, "png"))
        )
        np.testing.assert_array_equal(webp, lossless)
    kernels = [whole[f"kernel/half_s00{crop}_0.npy"] for crop in (1, 2)]
    assert kernels[0] != kernels[1]


def test_jpeg_compresses_the_lr_image_of_the_same_triplet(service: Service, dataset: str) -> None:
    files = {"a.png": make_png(96, 80)}
    plain, with_jpeg = (
        service.read_archive(service.wait_until_finished(service.degrade(dataset, files, samples=2, **options))["id"])
        for options in ({}, {"jpeg": "30-40"})
    )
    lines = [json.loads(line) for line in with_jpeg["manifest.jsonl"].splitlines()]
    assert [line["status"] for line in lines] == ["ok", "ok"]
    for line in lines:
        assert line["adds_up"] is False
        assert 30 <= line["jpeg_quality"] <= 40
        buffer = io.BytesIO()
        Image.open(io.BytesIO(plain[line["lr"]])).save(buffer, "JPEG", quality=line["jpeg_quality"])
        compressed = np.asarray(Image.open(buffer))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(with_jpeg[line["lr"]]))), compressed)
        assert with_jpeg[line["kernel"]] == plain[line["kernel"]]


@pytest.mark.parametrize("kind", ["degrade", "sr", "train"])
def test_a_running_job_is_canceled_within_five_seconds(service: Service, dataset: str, kind: str) -> None:
    start = {
        "degrade": lambda: service.degrade(dataset, make_photos(8, 1500), samples=1000),
        "sr": lambda: service.sr(dataset, {"a.png": make_png(1500, 1500)}, tile=64),
        "train": lambda: service.train(dataset, max_steps=100_000),
    }
    job_id = start[kind]()
    # The ETA is known within the first image, too.
    running = service.wait_for_job(job_id, lambda job: job["progress"]["eta_seconds"] is not None)
    assert running["status"] == "running"
    assert running["progress"]["per_second"] > 0
    service.http.post(f"/jobs/{job_id}/cancel")
    canceled_at = time.monotonic()
    job = service.wait_until_finished(job_id)
    assert job["status"] == "canceled"
    assert time.monotonic() - canceled_at < CANCEL_SECONDS
    if kind == "degrade":  # finished results stay
        members = service.read_archive(job_id)
        assert len(members["manifest.jsonl"].splitlines()) == job["counts"]["ok"] > 0


def test_every_log_line_of_a_job_has_its_id(service: Service, dataset: str) -> None:
    job_id = service.degrade(dataset, {"a.png": make_png(40, 40)})
    service.wait_until_logged(job=job_id, event="job ended")
    lines = service.find_logs(job=job_id)
    assert {line["event"]: line["process"] for line in lines} == {
        "job accepted": "api",
        "job started": "warm worker",
        "job ended": "warm worker",
    }
    by_worker = service.find_logs(process="warm worker")
    of_job = [number for number, line in enumerate(by_worker) if line.get("job") == job_id]
    assert of_job == list(range(of_job[0], of_job[-1] + 1)), "no line without the id between these"
