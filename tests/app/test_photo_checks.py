"""What is wrong with photos is said before a training, over HTTP."""

from __future__ import annotations

from http import HTTPStatus

import numpy as np
import pytest
from PIL import Image

from store.photo_checks import check_photos
from store.repositories.jobs import JobRepository
from tests.support.api import Api
from tests.support.images import encode_image
from tests.support.scenes import make_scene

SIDE = 200


def make_files(count: int, seed: int = 0) -> dict[str, bytes]:
    return {f"{n}.png": encode_image(make_scene(SIDE, SIDE, seed + n)) for n in range(count)}


def make_enlarged(seed: int) -> bytes:
    small = Image.fromarray(make_scene(SIDE, SIDE, seed)).resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC)
    return encode_image(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))


def make_flat() -> bytes:
    return encode_image(np.full((SIDE, SIDE, 3), 90, np.uint8))


def test_photos_are_checked_after_their_upload(api: Api) -> None:
    dataset = api.create_dataset(scale=2)
    uploaded = api.upload(dataset, "lr", a_png=make_enlarged(1), b_png=encode_image(make_scene(SIDE, SIDE))).json()
    assert [(image["checked"], image["findings"]) for image in uploaded["accepted"]] == [(False, []), (False, [])]
    assert check_photos(api.store, api.store.decoders) == 2
    assert check_photos(api.store, api.store.decoders) == 0
    enlarged, other = api.http.get(f"/datasets/{dataset}/images").json()["items"]
    assert (other["checked"], other["findings"]) == (True, [])
    (finding,) = enlarged["findings"]
    assert finding == {
        "code": "enlarged",
        "severity": "left_out",
        "message": "The photo was enlarged (2 times). Add it in its original size.",
        "value": 2.0,
    }


def test_the_request_to_train_says_what_is_wrong(api: Api) -> None:
    dataset = api.create_dataset(scale=2)
    api.http.post(
        f"/datasets/{dataset}/images?role=lr",
        files=[("files", file) for file in ({**make_files(3), "flat.png": make_flat()}).items()],
    )
    api.http.post(
        f"/datasets/{dataset}/images?role=hr", files=[("files", file) for file in make_files(2, seed=10).items()]
    )
    response = api.http.post(f"/datasets/{dataset}/train", json={"max_steps": 1})
    assert response.status_code == HTTPStatus.ACCEPTED
    checks = response.json()["photo_checks"]
    assert (checks["checked"], checks["unchecked"]) == (6, 0)
    assert checks["left_out"] == {"lr": 1, "hr": 0}
    assert checks["findings"] == {"lr": {"flat": 1}, "hr": {}}
    assert [(photo["name"], photo["left_out"]) for photo in checks["photos"]] == [("flat.png", True)]
    assert api.http.get(f"/datasets/{dataset}/checks").json() == checks
    with api.store.database.read() as session:
        job = JobRepository(session).get(response.json()["id"])
    assert job is not None
    assert job.parameters["photo_checks"] == "leave_out"


def test_photos_need_not_be_checked(api: Api) -> None:
    dataset = api.create_dataset(scale=2)
    api.upload(dataset, "lr", a_png=make_flat())
    api.upload(dataset, "hr", a_png=encode_image(make_scene(SIDE, SIDE)))
    response = api.http.post(f"/datasets/{dataset}/train", json={"max_steps": 1, "photo_checks": "off"})
    assert response.json()["photo_checks"] is None
    assert api.http.get(f"/datasets/{dataset}/checks").json()["unchecked"] == 2


def test_the_same_photo_as_real_and_clean_is_said_at_once(api: Api) -> None:
    dataset, photo = api.create_dataset(scale=2), make_scene(2 * SIDE, 2 * SIDE)
    api.upload(dataset, "hr", same_png=encode_image(photo))
    accepted = api.upload(dataset, "lr", again_png=encode_image(photo)).json()["accepted"]
    assert [finding["code"] for finding in accepted[0]["findings"]] == ["real_and_clean"]
    (clean,) = api.http.get(f"/datasets/{dataset}/images?role=hr").json()["items"]
    assert [finding["code"] for finding in clean["findings"]] == ["real_and_clean"]


def test_a_smaller_copy_of_a_clean_photo_is_no_real_one(api: Api) -> None:
    dataset, photo = api.create_dataset(scale=2), make_scene(2 * SIDE, 2 * SIDE)
    small = Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    api.upload(dataset, "hr", clean_png=encode_image(photo))
    api.upload(
        dataset, "lr", small_png=encode_image(np.asarray(small)), other_png=encode_image(make_scene(SIDE, 300, 5))
    )
    check_photos(api.store, api.store.decoders)
    checks = api.http.get(f"/datasets/{dataset}/checks").json()
    assert checks["findings"] == {"lr": {"real_and_clean": 1}, "hr": {"real_and_clean": 1}}


def test_checks_of_a_very_large_dataset_read_few_photos(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What photos have in common is then not compared."""
    dataset = api.create_dataset(scale=2)
    for name, data in {**make_files(3), "flat.png": make_flat()}.items():
        api.http.post(f"/datasets/{dataset}/images?role=lr", files=[("files", (name, data))])
    check_photos(api.store, api.store.decoders)
    whole = api.http.get(f"/datasets/{dataset}/checks").json()
    monkeypatch.setattr("app.datasets.photo_checks.MAX_COMPARED", 2)
    assert api.http.get(f"/datasets/{dataset}/checks").json() == whole
    assert (whole["checked"], whole["left_out"], len(whole["photos"])) == (4, {"lr": 1, "hr": 0}, 1)


def test_jpeg_quality_of_clean_photos_is_read_from_their_files(api: Api) -> None:
    dataset, photo = api.create_dataset(scale=2), make_scene(SIDE, SIDE)
    files = {f"{quality}.jpg": encode_image(photo, "JPEG", quality=quality) for quality in (50, 92)}
    api.http.post(f"/datasets/{dataset}/images?role=hr", files=[("files", file) for file in files.items()])
    check_photos(api.store, api.store.decoders)
    found = {
        image["name"]: [(finding["code"], finding["value"]) for finding in image["findings"]]
        for image in api.http.get(f"/datasets/{dataset}/images").json()["items"]
    }
    assert found["92.jpg"] == []
    assert ("compressed", 50) in found["50.jpg"]


def test_a_photo_that_is_gone_is_not_checked_again(api: Api) -> None:
    dataset = api.create_dataset(scale=2)
    (image,) = api.upload(dataset, "lr", a_png=encode_image(make_scene(SIDE, SIDE))).json()["accepted"]
    api.store.blobs.path(image["sha256"]).unlink()
    assert check_photos(api.store, api.store.decoders) == 1
    assert check_photos(api.store, api.store.decoders) == 0
