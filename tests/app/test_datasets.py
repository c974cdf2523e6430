"""Datasets and image uploads over HTTP."""

from __future__ import annotations

import hashlib
import io
import os
import time
from http import HTTPStatus
from pathlib import Path
from threading import Event

import anyio
import pytest
from fastapi import Request
from PIL import Image
from sqlalchemy import update
from starlette.types import Message

from app.http.body_limit import SCOPE_KEY, Body
from app.http.problems import ProblemError
from app.ingest.multipart import BATCH_BYTES, receive_form
from imaging.image_info import ImageCheck, ImageSize
from store.db.tables import Model
from tests.support.api import Api
from tests.support.images import encode_image, make_picture, make_png, make_tar, make_zip


def test_a_dataset_is_created_listed_and_deleted(api: Api) -> None:
    dataset = api.create_dataset(scale=3)
    dataset_read = api.http.get(f"/datasets/{dataset}").json()
    assert dataset_read["scale"] == 3
    assert dataset_read["images"] == {"lr": 0, "hr": 0}
    assert dataset_read["models"] == []
    assert dataset_read["created"].endswith("Z")
    assert [item["id"] for item in api.http.get("/datasets").json()["items"]] == [dataset]
    assert api.http.delete(f"/datasets/{dataset}").status_code == 204
    assert api.http.get(f"/datasets/{dataset}").json()["code"] == "dataset_not_found"


def test_lists_are_paginated(api: Api) -> None:
    created = {api.create_dataset() for _ in range(5)}
    seen, cursor = [], None
    while True:
        page = api.http.get("/datasets", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == created


def test_the_same_bytes_twice_are_one_image(api: Api) -> None:
    dataset, data = api.create_dataset(), make_png(64, 48)
    first = api.upload(dataset, "lr", a_png=data, b_png=data).json()
    repeated = api.upload(dataset, "lr", c_png=data).json()
    assert len({image["id"] for image in first["accepted"] + repeated["accepted"]}) == 1
    assert first["accepted"][0] | {"id": ""} == {
        "id": "",
        "name": "a.png",
        "sha256": hashlib.sha256(data).hexdigest(),
        "width": 48,
        "height": 64,
        "role": "lr",
        "checked": False,
        "findings": [],
    }
    assert api.http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 1, "hr": 0}


PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%d"\r\n\r\n'


def form_in_two_parts(parts: tuple[bytes, bytes], between: Event) -> Request:
    """A request whose second part arrives when `between` is set."""
    pending = list(parts)

    async def receive() -> Message:
        if len(pending) == 1:
            assert await anyio.to_thread.run_sync(between.wait, 20)
        return {"type": "http.request", "body": pending.pop(0), "more_body": bool(pending)}

    body = Body(0, 2**30, lambda: ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "", ""))
    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    return Request({"type": "http", "headers": headers, SCOPE_KEY: body}, receive)


def test_images_are_validated_while_others_arrive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    validating, check = Event(), api.store.decoders.check

    def signal_check(file: Path) -> ImageCheck:
        validating.set()
        return check(file)

    monkeypatch.setattr(api.store.decoders, "check", signal_check)
    first, second = os.urandom(BATCH_BYTES), make_png(48, 64)
    parts = PART % 1 + second + b"\r\n" + PART % 2 + first, b"\r\n" + PART % 3 + second + b"\r\n--x--\r\n"

    async def sizes() -> list[ImageSize]:
        async with receive_form(form_in_two_parts(parts, validating), api.store, api.settings) as form:
            return [file.validation.result().size for file in form.files[::2] if file.validation]

    assert anyio.run(sizes) == [ImageSize(64, 48), ImageSize(64, 48)]


def test_a_truncated_form_is_rejected_after_its_validation_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = Event(), Event()

    def check_slowly(file: Path) -> ImageCheck:
        with file.open("rb"):
            started.set()
            time.sleep(0.5)
        ended.set()
        return ImageCheck(ImageSize(64, 64), (0, 0, 64, 64))

    monkeypatch.setattr(api.store.decoders, "check", check_slowly)
    parts = PART % 1 + make_png(64, 64) + b"\r\n" + PART % 2 + bytes(BATCH_BYTES), b"truncated"

    async def receive_truncated() -> None:
        with pytest.raises(ProblemError, match="closing boundary"):
            async with receive_form(form_in_two_parts(parts, started), api.store, api.settings):
                pass

    anyio.run(receive_truncated)
    assert ended.is_set()
    assert list(api.store.blobs.temporary.iterdir()) == []


@pytest.mark.parametrize("pack", [make_zip, make_tar, lambda members: make_tar(members, "w:gz")])
def test_archives_are_extracted_without_system_files(api: Api, pack: object) -> None:
    assert callable(pack)
    members = {
        "photos/1.png": make_png(64, 64, 1),
        "photos/2.png": make_png(64, 64, 2),
        "__MACOSX/photos/._1.png": b"x",
    }
    response = api.upload(api.create_dataset(), "lr", photos_zip=pack(members))
    assert response.status_code == 200, response.text
    assert [image["name"] for image in response.json()["accepted"]] == [
        "photos.zip/photos/1.png",
        "photos.zip/photos/2.png",
    ]
    assert response.json()["rejected"] == []


def test_each_rejected_file_has_a_code(api: Api) -> None:
    dataset = api.create_dataset()
    truncated = make_png(64, 64, 2)[:900]
    response = api.upload(
        dataset, "lr", good_png=make_png(64, 64), cut_png=truncated, text_png=b"hello", small_png=make_png(31, 64)
    )
    assert response.status_code == 200
    assert [image["name"] for image in response.json()["accepted"]] == ["good.png"]
    assert {file["name"]: file["code"] for file in response.json()["rejected"]} == {
        "cut.png": "corrupt_image",
        "text.png": "not_an_image",
        "small.png": "image_too_small",
    }


REJECTED = {
    "a corrupt image": ({"a_png": make_png(64, 64)[:-300]}, "corrupt_image"),
    "a text file named .png": ({"a_png": b"hello there"}, "not_an_image"),
    "an empty file": ({"a_png": b""}, "empty_file"),
    "smaller than one patch": ({"a_png": make_png(31, 200)}, "image_too_small"),
    "more pixels than allowed": (
        {"a_png": encode_image(make_picture(20, 20).repeat(101, 0).repeat(101, 1))},
        "image_too_large",
    ),
    "an empty zip": ({"a_zip": make_zip({})}, "empty_archive"),
    "an empty tar": ({"a_tar": make_tar({})}, "empty_archive"),
    "a nested archive": ({"a_zip": make_zip({"inner.zip": make_zip({"a.png": make_png(64, 64)})})}, "nested_archive"),
    "a nested tar in a tar": (
        {"a_tar": make_tar({"inner.tar": make_tar({"a.png": make_png(64, 64)})})},
        "nested_archive",
    ),
    "an outside path in a zip": (
        {"a_zip": make_zip({"../../x.png": make_png(64, 64), "b.png": make_png(64, 64)})},
        "unsafe_path",
    ),
    "an outside path in a tar": (
        {"a_tar": make_tar({"b.png": make_png(64, 64), "../../x.png": make_png(64, 64)})},
        "unsafe_path",
    ),
    "an absolute path": ({"a_zip": make_zip({"/etc/x.png": make_png(64, 64)})}, "unsafe_path"),
    "an outside Windows path": ({"a_zip": make_zip({"..\\x.png": make_png(64, 64)})}, "unsafe_path"),
    "a truncated zip": ({"a_zip": make_zip({"a.png": make_png(64, 64)})[:-30]}, "corrupt_archive"),
    "a truncated tar": ({"a_tar": make_tar({"a.png": make_png(300, 300)})[:5000]}, "corrupt_archive"),
    "no files at all": ({}, "no_files"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_a_rejected_upload_explains_itself_and_leaves_no_trace(api: Api, case: str) -> None:
    files, code = REJECTED[case]
    dataset = api.create_dataset()
    before = api.find_traces()
    if files:
        response = api.upload(dataset, "lr", **files)
    else:
        response = api.http.post(
            f"/datasets/{dataset}/images?role=lr",
            content=b"--x--\r\n",
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == code
    assert len(response.json()["detail"]) > 20
    assert api.find_traces() == before
    assert api.http.get(f"/datasets/{dataset}").json()["images"] == {"lr": 0, "hr": 0}
    folder = api.settings.data_dir
    assert not [*folder.rglob("x.png"), *folder.parent.glob("x.png")]


def test_an_hr_image_must_be_at_least_one_patch(api: Api) -> None:
    for scale, side in ((1, 32), (2, 64), (8, 256)):
        dataset = api.create_dataset(scale=scale)
        assert api.upload(dataset, "hr", a_png=make_png(side, side)).status_code == 200
        assert api.upload(dataset, "hr", a_png=make_png(side - 1, side)).json()["code"] == "image_too_small"


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "not_a_form"),
        (b"--x\r\nno header", "multipart/form-data; boundary=x", 400, "broken_form"),
        (b"--y--", "multipart/form-data; boundary=x", 400, "broken_form"),
        (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\nhalf of the file',
            "multipart/form-data; boundary=x",
            400,
            "broken_form",
        ),
    ],
)
def test_a_broken_form_is_rejected(api: Api, content: bytes, content_type: str, status: int, code: str) -> None:
    dataset = api.create_dataset()
    before = api.find_traces()
    response = api.http.post(
        f"/datasets/{dataset}/images?role=lr", content=content, headers={"Content-Type": content_type}
    )
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert api.find_traces() == before


def test_thumbnail(api: Api) -> None:
    dataset = api.create_dataset()
    (image,) = api.upload(dataset, "lr", a_png=make_png(300, 600)).json()["accepted"]
    path = f"/datasets/{dataset}/images/{image['id']}/thumbnail"
    response = api.http.get(path)
    assert response.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(response.content)).size == (256, 128)
    os.truncate(api.store.blobs.path(image["sha256"]), 1000)
    response = api.http.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "no_thumbnail")


def test_an_upload_needs_a_dataset_and_a_role(api: Api) -> None:
    assert api.upload("nowhere", "lr", a_png=make_png(64, 64)).json()["code"] == "dataset_not_found"
    assert api.upload(api.create_dataset(), "other", a_png=make_png(64, 64)).json()["code"] == "invalid_request"


def test_a_body_that_is_not_json_is_rejected(api: Api) -> None:
    for path in ("/datasets", f"/datasets/{api.create_dataset()}/train"):
        response = api.http.post(path, content=b"{nope", headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (400, "not_json")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", "scale": 5},
        {"name": "a", "scale": 0},
        {"name": " ", "scale": 4},
        {"scale": 4},
        {"name": "a", "scale": 4, "x": 1},
        [],
    ],
)
def test_an_invalid_dataset_is_rejected(api: Api, body: object) -> None:
    response = api.http.post("/datasets", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert api.http.get("/datasets").json()["items"] == []


def test_training_needs_lr_and_hr_images_and_a_known_preset(api: Api) -> None:
    dataset = api.create_dataset()
    train = f"/datasets/{dataset}/train"
    assert api.http.post(train, json={}).json()["code"] == "no_lr_images"
    api.upload(dataset, "lr", a_png=make_png(64, 64))
    response = api.http.post(train, json={})
    assert (response.status_code, response.json()["code"]) == (409, "no_hr_images")
    assert "role=hr" in response.json()["detail"]
    api.upload(dataset, "hr", a_png=make_png(128, 128))
    for wrong in ({"preset": "nope"}, {"max_steps": 0}, {"max_minutes": -1}, {"seed": -1}, {"stepz": 4}):
        response = api.http.post(train, json=wrong)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert "'default', 'seed'" in api.http.post(train, json={"preset": "nope"}).json()["detail"]
    assert api.http.get("/jobs").json()["items"] == []

    response = api.http.post(train, json={"max_steps": 3, "preset": "seed"})
    assert response.status_code == 202
    assert response.headers["location"] == f"/jobs/{response.json()['id']}"
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["progress"] == {
        "done": 0,
        "total": 3,
        "unit": "steps",
        "per_second": None,
        "eta_seconds": None,
    }


def test_a_warm_start_needs_a_model_of_the_same_scale(api: Api) -> None:
    dataset, other = api.create_dataset(), api.create_dataset(scale=2)
    api.upload(dataset, "lr", a_png=make_png(64, 64))
    api.upload(dataset, "hr", a_png=make_png(128, 128))
    train = f"/datasets/{dataset}/train"
    model, of_scale_2 = api.create_model(dataset), api.create_model(other)
    with api.store.database.write() as session:
        session.execute(update(Model).where(Model.id == of_scale_2).values(scale=2))
    assert api.http.post(train, json={"warm_start": "nothing"}).json()["code"] == "model_not_found"
    response = api.http.post(train, json={"warm_start": of_scale_2})
    assert (response.status_code, response.json()["code"]) == (422, "warm_start_incompatible")
    job = api.http.post(train, json={"warm_start": model, "max_steps": 3}).json()
    assert job["parameters"]["warm_start"] == model


def test_a_dataset_with_an_active_job_is_not_deleted(api: Api) -> None:
    dataset = api.create_dataset()
    api.upload(dataset, "lr", a_png=make_png(64, 64))
    api.upload(dataset, "hr", a_png=make_png(128, 128))
    job = api.http.post(f"/datasets/{dataset}/train", json={}).json()["id"]
    response = api.http.delete(f"/datasets/{dataset}")
    assert (response.status_code, response.json()["code"], response.json()["jobs"]) == (409, "dataset_busy", [job])
    assert api.http.post(f"/jobs/{job}/cancel").json()["status"] == "canceled"
    assert api.http.delete(f"/datasets/{dataset}").status_code == 204
