"""Archives of ended jobs in every format, read by the libraries that they are meant for."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import webdataset
from numpy.typing import NDArray
from PIL import Image

from store.repositories.samples import NewSample, SampleRepository
from tests.support.api import Api, create_archived_job
from tests.support.images import encode_image, make_picture, make_png, make_zip, read_tar


def encode_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def job(api: Api) -> str:
    """Six images with two samples each; the fourth failed. The fifth was rotated by 180°, the last one gray."""
    dataset = api.create_dataset()
    api.create_model(dataset)
    rotated = Image.Exif()
    rotated[0x0112] = 3
    photos = {f"{number}.png": encode_image(make_picture(42, 51, number)) for number in range(3)}
    photos["3.png"] = encode_image(make_picture(40, 40, 3))
    photos["a.b.jpg"] = encode_image(make_picture(64, 32, 4), "JPEG", exif=rotated, quality=100, subsampling=0)
    photos["gray.png"] = encode_image(make_picture(40, 40, 5)[..., 0])
    job = api.degrade(dataset, {"photos_zip": make_zip(photos)}, samples=2, seed=7)
    put, samples = api.store.blobs.put, []
    for position in range(len(photos)):
        for sample in range(2):
            lr = encode_image(make_picture(10, 12, position + 10 * sample))
            noise = encode_npy(np.full((10, 12, 3), position + sample, np.float32))
            files = {"lr": put(lr), "kernel": put(encode_npy(np.eye(5, dtype=np.float32))), "noise": put(noise)}
            failed = NewSample(position, sample, {}, "corrupt_image", "It is corrupt.")
            samples.append(failed if position == 3 else NewSample(position, sample, files))
    api.finish(job, *samples)
    return job


def fetch(api: Api, job: str, **query: Any) -> bytes:
    response = api.http.get(f"/jobs/{job}/archive", params={"format": "tar", **query})
    assert response.status_code == 200, response.text
    return response.content


@pytest.mark.parametrize("archive_format", ["zip", "tar"])
def test_an_archive_has_every_file_and_a_line_per_sample(api: Api, archive_format: str) -> None:
    job, content = create_archived_job(api)
    response = api.http.get(f"/jobs/{job}/archive", params={"format": archive_format})
    assert response.status_code == 200
    assert f"{job}.{archive_format}" in response.headers["content-disposition"]
    if archive_format == "zip":
        with zipfile.ZipFile(io.BytesIO(response.content)) as opened:
            assert opened.testzip() is None
            files = {name: opened.read(name) for name in opened.namelist()}
    else:
        files = read_tar(response.content)
    lines = [json.loads(line) for line in files.pop("manifest.jsonl").splitlines()]
    assert files == content
    assert [(line["source"], line["sample"], line["status"]) for line in lines] == [
        ("x.zip/one/é 1.png", 0, "ok"),
        ("x.zip/one/é 1.png", 1, "ok"),
        ("x.zip/two/é 1.png", 0, "failed"),
        ("x.zip/two/é 1.png", 1, "failed"),
    ]
    model = api.http.get(f"/jobs/{job}").json()["model"]
    assert lines[1] == {
        "source": "x.zip/one/é 1.png",
        "name": "one/é 1",
        "source_sha256": lines[1]["source_sha256"],
        "sample": 1,
        "seed": 7,
        "status": "ok",
        "lr": "lr/one/é 1_1.png",
        "kernel": "kernel/one/é 1_1.npy",
        "noise": "noise/one/é 1_1.npy",
        "scale": 4,
        "kernel_origin": [-8, -8],
        "padding": "reflect",
        "model": model,
    }
    assert lines[2]["code"] == "corrupt_image"
    assert "lr" not in lines[2]


def test_an_archive_of_an_unfinished_job_is_rejected(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_png": make_png(50, 40)})
    response = api.http.get(f"/jobs/{job}/archive")
    assert (response.status_code, response.json()["code"]) == (409, "job_not_finished")
    api.http.post(f"/jobs/{job}/cancel")
    assert api.http.get(f"/jobs/{job}/archive").status_code == 200


def test_clean_images_are_cropped_to_match_and_unique(api: Api, job: str) -> None:
    files = read_tar(fetch(api, job, hr=True))
    lines = [json.loads(line) for line in files["manifest.jsonl"].splitlines()]
    assert [line.get("hr") for line in lines[:4]] == ["hr/0.png", "hr/0.png", "hr/1.png", "hr/1.png"]
    assert sorted(name for name in files if name.startswith("hr/")) == [
        f"hr/{name}.png" for name in ("0", "1", "2", "a.b", "gray")
    ]
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(files["hr/1.png"]))), make_picture(42, 51, 1)[:40, :48]
    )
    gray = np.asarray(Image.open(io.BytesIO(files["hr/gray.png"])))
    np.testing.assert_array_equal(gray, np.repeat(make_picture(40, 40, 5)[..., :1], 3, 2))
    upright = np.asarray(Image.open(io.BytesIO(files["hr/a.b.png"]))).astype(int)
    assert np.abs(upright - make_picture(64, 32, 4)[::-1, ::-1]).mean() < 3
    assert set(read_tar(fetch(api, job))) == {name for name in files if not name.startswith("hr/")}


def test_an_archive_is_complete_after_its_model_was_deleted(api: Api) -> None:
    """The model belonged to another dataset, which was deleted."""
    dataset, other = api.create_dataset(), api.create_dataset()
    model = api.create_model(other)
    job = api.degrade(dataset, {"a_png": make_png(50, 40)}, model=model)
    api.finish(job, NewSample(0, 0, {"lr": api.store.blobs.put(make_png(12, 10))}))
    assert api.http.delete(f"/datasets/{other}").status_code == 204
    assert api.http.get(f"/models/{model}").status_code == 404
    files = read_tar(fetch(api, job, hr=True))
    line = json.loads(files["manifest.jsonl"])
    assert (line["scale"], line["kernel_origin"], line["padding"]) == (4, [-8, -8], "reflect")
    assert Image.open(io.BytesIO(files[line["hr"]])).size == (40, 48), "from 50 rows × 40 columns"


def test_a_split_keeps_each_image_on_one_side(api: Api, job: str) -> None:
    sides = {side: read_tar(fetch(api, job, validation=0.5, split=side)) for side in ("train", "validation")}
    lines = {side: [json.loads(line) for line in files["manifest.jsonl"].splitlines()] for side, files in sides.items()}
    for side, side_lines in lines.items():
        for line in side_lines:
            is_validation = int(line["source_sha256"], 16) / 16**64 < 0.5
            assert is_validation == (side == "validation")
            assert line.get("split", side) == side
    whole = read_tar(fetch(api, job, validation=0.5))
    assert {**sides["train"], **sides["validation"]}.keys() == whole.keys()
    assert sorted(map(len, lines.values())) != [0, 12]
    everything = fetch(api, job, validation=1, split="validation")
    assert len(read_tar(everything)["manifest.jsonl"].splitlines()) == 12
    assert read_tar(fetch(api, job, validation=0, split="validation")) == {"manifest.jsonl": b""}


def test_the_query_overrides_the_split_of_the_job(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_png": make_png(50, 40)}, validation=1)
    api.finish(job, NewSample(0, 0, {"lr": api.store.blobs.put(b"lr")}))
    for query, split in ({}, "validation"), ({"validation": 0}, "train"):
        (line,) = read_tar(fetch(api, job, **query))["manifest.jsonl"].splitlines()
        assert json.loads(line)["split"] == split


def shards(api: Api, job: str, folder: Path, size: int) -> list[str]:
    first = api.http.get(f"/jobs/{job}/archive?format=webdataset&hr=true&shard_size={size}")
    count = int(first.headers["patina-shards"])
    paths = []
    for number in range(count):
        path = folder / f"{number:06}.tar"
        path.write_bytes(fetch(api, job, format="webdataset", hr=True, shard_size=size, shard=number))
        paths.append(str(path))
    return paths


def test_webdataset_reads_the_shards(api: Api, job: str, tmp_path: Path) -> None:
    paths = shards(api, job, tmp_path, 4)
    assert len(paths) == 3
    read = list(webdataset.WebDataset(paths, shardshuffle=False).decode("rgb8"))
    assert [sample["__key__"] for sample in read] == [
        f"{name}_{sample}" for name in ("0", "1", "2", "a%2Eb", "gray") for sample in (0, 1)
    ]
    fourth = read[3]
    np.testing.assert_array_equal(fourth["hr.png"], make_picture(42, 51, 1)[:40, :48])
    np.testing.assert_array_equal(fourth["lr.png"], make_picture(10, 12, 11))
    np.testing.assert_array_equal(fourth["kernel.npy"], np.eye(5, dtype=np.float32))
    assert (fourth["noise.npy"] == 2).all()
    assert (fourth["json"]["source"], fourth["json"]["sample"]) == ("photos.zip/1.png", 1)


def test_hugging_face_reads_the_shards(api: Api, job: str, tmp_path: Path) -> None:
    paths = shards(api, job, tmp_path, 7)
    read = datasets.load_dataset("webdataset", data_files=paths, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(read) == 10
    np.testing.assert_array_equal(np.asarray(read[3]["lr.png"]), make_picture(10, 12, 11))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"format": "webdataset", "shard_size": 4, "shard": 3}, 404, "no_such_shard"),
        ({"split": "train"}, 422, "no_split"),
        ({"validation": 2}, 422, "invalid_request"),
        ({"shard_sise": 4}, 422, "invalid_request"),
    ],
)
def test_invalid_queries_are_rejected(api: Api, job: str, query: dict[str, Any], status: int, code: str) -> None:
    response = api.http.get(f"/jobs/{job}/archive", params=query)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_crops_cover_their_image_and_record_their_position(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    pixels = make_picture(72, 100)
    job = api.degrade(dataset, {"a_png": encode_image(pixels)}, crop=64, crop_step=32, jpeg="60-95", lr_format="webp")
    put = api.store.blobs.put
    api.finish(job, *(NewSample(position, 0, {"lr": put(b"%d" % position)}) for position in range(6)))
    files = read_tar(fetch(api, job, hr=True))
    lines = [json.loads(line) for line in files["manifest.jsonl"].splitlines()]
    assert [line["crop"] for line in lines] == [[top, left, 64, 64] for top in (0, 8) for left in (0, 32, 36)]
    assert [line["lr"] for line in lines] == [f"lr/a_s{number:03}_0.webp" for number in range(1, 7)]
    for line in lines:
        top, left, height, width = line["crop"]
        crop = np.asarray(Image.open(io.BytesIO(files[line["hr"]])))
        np.testing.assert_array_equal(crop, pixels[top : top + height, left : left + width])
        assert (line["adds_up"], 60 <= line["jpeg_quality"] <= 95) == (False, True)
    assert len({line["jpeg_quality"] for line in lines}) > 1
    link = api.http.get(f"/jobs/{job}/results").json()["items"][0]["links"]["lr"]
    assert api.http.get(link).headers["content-type"] == "image/webp"


@pytest.mark.parametrize("sides", [(40, 40), (41, 41)])
def test_a_corrupt_clean_image_is_not_served(api: Api, sides: tuple[int, int]) -> None:
    """Neither a file that is copied as it is, nor one that is cropped."""
    dataset = api.create_dataset()
    api.create_model(dataset)
    photo = encode_image(make_picture(*sides))
    job = api.degrade(dataset, {"a_png": photo})
    api.finish(job, NewSample(0, 0, {"lr": api.store.blobs.put(b"lr")}))
    assert "hr/a.png" in read_tar(fetch(api, job, hr=True))
    other = encode_image(make_picture(*sides, 1))
    api.store.blobs.path(hashlib.sha256(photo).hexdigest()).write_bytes(other)
    truncated = fetch(api, job, hr=True)
    assert not any(named in truncated for named in (b"hr/a.png", b"manifest.jsonl"))
    assert "lr/a_0.png" in read_tar(fetch(api, job))


def test_a_missing_result_is_explained(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_png": make_png(40, 40)})
    lr = api.store.blobs.put(b"lr")
    api.finish(job, NewSample(0, 0, {"lr": lr}))
    api.store.blobs.path(lr).unlink()
    response = api.http.get(f"/jobs/{job}/results/0/0/lr")
    assert (response.status_code, response.json()["code"]) == (500, "blob_missing")
    assert "patina doctor" in response.json()["detail"]


def test_source_images_smaller_than_a_crop_fail(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    api.upload(dataset, "hr", a_png=make_png(128, 140), b_png=make_png(200, 200))
    send = {"source": dataset, "crop": 160, "samples": 2}
    job = api.http.post(f"/datasets/{dataset}/degrade", data=send).json()
    assert job["progress"]["total"] == 2 * (1 + 4)
    with api.store.database.read() as session:
        items = SampleRepository(session).list_items(job["id"])
    assert [(item.output_name, item.code) for item in items][:2] == [("a", "image_too_small"), ("b_s001", None)]


def test_sr_archives_have_no_clean_images(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.http.post(
        "/sr", files={"files": ("a.png", encode_image(make_picture(20, 20)))}, data={"dataset": dataset}
    ).json()
    api.finish(job["id"], NewSample(0, 0, {"sr": api.store.blobs.put(encode_image(make_picture(80, 80)))}))
    assert api.http.get(f"/jobs/{job['id']}/archive?hr=true").json()["code"] == "no_hr"
    (sample,) = webdataset.WebDataset(
        [_save(fetch(api, job["id"], format="webdataset"), api.settings.data_dir)], shardshuffle=False
    )
    assert sorted(name for name in sample if not name.startswith("__")) == ["json", "sr.png"]


def _save(data: bytes, folder: Path) -> str:
    (folder / "shard.tar").write_bytes(data)
    return str(folder / "shard.tar")
