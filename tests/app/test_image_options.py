"""What becomes of images that are not plain is what their sender asked for, and is said."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from config.settings import Settings
from tests.support.api import Api, as_parts, serve_api
from tests.support.images import encode_image, make_picture, make_zip


def make_gif(frames: int = 3) -> bytes:
    images = [Image.fromarray(make_picture(160, 200, seed)) for seed in range(frames)]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def make_deep() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(make_picture(160, 200)[..., 0].astype(np.uint16) * 257).save(buffer, "PNG")
    return buffer.getvalue()


def make_transparent() -> bytes:
    alpha = np.full((160, 200), 255, np.uint8)
    alpha[:, :40] = 0
    return encode_image(np.dstack([make_picture(160, 200), alpha]))


def upload(api: Api, data: bytes, name: str = "a.gif", **fields: str) -> Any:
    url = f"/datasets/{api.create_dataset()}/images?role=lr"
    return api.http.post(url, files=[("files", (name, data))], data=fields).json()


def codes(response: Any) -> list[tuple[str, str]]:
    return [(warning["name"], warning["code"]) for warning in response["warnings"]]


def test_the_first_frame_is_taken_and_it_is_said(api: Api) -> None:
    response = upload(api, make_gif())
    assert [image["name"] for image in response["accepted"]] == ["a.gif"]
    assert codes(response) == [("a.gif", "first_frame_only")]
    assert "3 frames" in response["warnings"][0]["message"]


def test_all_frames_are_images_of_their_own(api: Api) -> None:
    response = upload(api, make_gif(), frames="all")
    assert [image["name"] for image in response["accepted"]] == ["a.0001.png", "a.0002.png", "a.0003.png"]
    assert len({image["sha256"] for image in response["accepted"]}) == 3
    assert codes(response) == [("a.0001.png", "all_frames")]
    assert list(api.store.blobs.temporary.iterdir()) == []


def test_frames_in_archives_are_taken_too(api: Api) -> None:
    response = upload(api, make_zip({"b/c.gif": make_gif(2)}), "x.zip", frames="all")
    assert [image["name"] for image in response["accepted"]] == ["x.zip/b/c.0001.png", "x.zip/b/c.0002.png"]


def test_too_many_frames_are_too_many_files(tmp_path: Path) -> None:
    with serve_api(Settings(data_dir=tmp_path, max_files=4)) as api:
        response = upload(api, make_gif(5), frames="all")
        assert response["code"] == "too_many_files"
        assert api.find_traces()["blobs"] == []


def test_deep_images_are_scaled_only_if_asked_for(api: Api) -> None:
    refused = upload(api, make_deep(), "a.png")
    assert refused["code"] == "more_than_8_bits"
    assert "depth=scale" in refused["detail"]
    scaled = upload(api, make_deep(), "a.png", depth="scale")
    assert codes(scaled) == [("a.png", "scaled_to_8_bits")]


def test_unknown_options_are_rejected(api: Api) -> None:
    assert upload(api, make_deep(), "a.png", depth="cut")["code"] == "invalid_request"


def test_transparent_parts_are_left_out_of_datasets(api: Api) -> None:
    response = upload(api, make_transparent(), "a.png")
    assert (response["accepted"][0]["width"], response["accepted"][0]["height"]) == (160, 160)
    assert codes(response) == [("a.png", "transparency_cropped")]


def test_a_resumable_upload_names_options_in_its_metadata(api: Api) -> None:
    data, dataset = make_gif(), api.create_dataset()
    pairs = {"filename": "a.gif", "frames": "all"}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
    headers = {"Tus-Resumable": "1.0.0"}
    created = api.http.post(
        f"/datasets/{dataset}/uploads?role=lr",
        headers=headers | {"Upload-Length": str(len(data)), "Upload-Metadata": metadata},
    )
    url = created.headers["Location"]
    part = headers | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert api.http.patch(url, content=data, headers=part).status_code == 204
    result = api.http.get(url).json()["result"]
    assert len(result["accepted"]) == 3
    assert codes(result) == [("a.0001.png", "all_frames")]
    wrong = metadata.replace(base64.b64encode(b"all").decode(), base64.b64encode(b"some").decode())
    rejected = api.http.post(
        f"/datasets/{dataset}/uploads?role=lr", headers=headers | {"Upload-Length": "9", "Upload-Metadata": wrong}
    )
    assert (rejected.status_code, rejected.json()["code"]) == (400, "bad_metadata")


@pytest.mark.parametrize(("depth", "status"), [(None, 422), ("8", 202), ("keep", 202)])
def test_sr_takes_deep_images_if_it_knows_their_results(api: Api, depth: str | None, status: int) -> None:
    dataset = api.create_dataset()
    fields = {"model": api.create_model(dataset)} | ({"depth": depth} if depth else {})
    response = api.http.post("/sr", files=as_parts({"a_png": make_deep()}), data=fields)
    assert response.status_code == status, response.text
    if status == 202:
        expected = [("a.png", "scaled_to_8_bits")] if depth == "8" else []
        assert codes(response.json()) == expected


def test_jobs_take_frames_and_say_what_they_took(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_gif": make_gif(), "b_png": make_transparent()}, frames="all")
    found = api.http.get(f"/jobs/{job}").json()
    assert found["progress"]["total"] == 4
    assert codes(found) == [("a.0001.png", "all_frames"), ("b.png", "transparency_cropped")]
    assert "warnings" not in found["parameters"]
