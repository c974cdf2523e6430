"""Inputs: files for one job, sent in several requests."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from app.inputs import service
from store.files.gc import referenced_hashes
from store.repositories.inputs import InputsRepository
from store.repositories.samples import SampleRepository
from tests.support.api import Api, as_parts
from tests.support.images import make_png, make_zip
from worker.maintenance.expire_uploads import ExpireUploads

TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def dataset(api: Api) -> str:
    dataset = api.create_dataset()
    api.create_model(dataset)
    return dataset


def create(api: Api, **fields: Any) -> str:
    response = api.http.post("/inputs", json=fields)
    assert response.status_code in (200, 201), response.text
    assert response.headers["location"] == f"/inputs/{response.json()['id']}"
    return str(response.json()["id"])


def put(api: Api, inputs: str, number: int, digest: str | None = None, **files: bytes) -> Any:
    params = {} if digest is None else {"digest": digest}
    response = api.http.put(f"/inputs/{inputs}/parts/{number}", params=params, files=as_parts(files))
    assert response.status_code == 200, response.text
    return response.json()


def items_of(api: Api, job: str) -> list[tuple[str, str, str | None]]:
    with api.store.database.read() as session:
        items = SampleRepository(session).list_items(job)
        return [(item.name, item.output_name, item.code) for item in items]


def test_a_job_takes_all_parts_in_their_order(api: Api, dataset: str) -> None:
    inputs, frame = create(api), make_png(40, 40)
    put(api, inputs, 1, more_zip=make_zip({"a/1.png": frame, "b/1.png": make_png(50, 50)}))
    part = put(api, inputs, 0, f1_png=frame, bad_png=b"no image", f2_png=frame)
    assert part["files"] == 3
    assert [(file["name"], file["code"]) for file in part["rejected"]] == [("bad.png", "not_an_image")]
    listed = api.http.get(f"/inputs/{inputs}").json()
    assert [(part["number"], part["files"]) for part in listed["parts"]] == [(0, 3), (1, 2)]
    response = api.http.post("/sr", data={"dataset": dataset, "inputs": inputs})
    assert response.status_code == 202, response.text
    assert items_of(api, response.json()["id"]) == [
        ("f1.png", "f1", None),
        ("bad.png", "bad", "not_an_image"),
        ("f2.png", "f2", None),
        ("more.zip/a/1.png", "more.zip/a/1", None),
        ("more.zip/b/1.png", "more.zip/b/1", None),
    ]
    assert api.http.get(f"/inputs/{inputs}").json()["code"] == "inputs_not_found"
    again = api.http.post("/sr", data={"dataset": dataset, "inputs": inputs})
    assert (again.status_code, again.json()["code"]) == (404, "inputs_not_found")


def test_the_same_key_finds_the_parts_that_have_arrived(api: Api, dataset: str) -> None:
    first = create(api, key="my photos")
    put(api, first, 0, "sha256-of-part", a_png=make_png(40, 40))
    assert create(api, key="my photos") == first
    assert create(api, key="others") != first
    (part,) = api.http.get(f"/inputs/{first}").json()["parts"]
    assert (part["number"], part["digest"]) == (0, "sha256-of-part")
    put(api, first, 0, b_png=make_png(40, 40))  # replaces it
    fields = {"dataset": dataset, "inputs": first}
    jobs = [api.http.post("/sr", data=fields, headers={"Idempotency-Key": "once"}).json() for _ in range(2)]
    assert jobs[0]["id"] == jobs[1]["id"]
    assert items_of(api, jobs[0]["id"]) == [("b.png", "b", None)]
    assert create(api, key="my photos") != first


def test_degrade_checks_the_size_of_inputs(api: Api, dataset: str) -> None:
    inputs = create(api)
    put(api, inputs, 0, large_png=make_png(100, 100), small_png=make_png(50, 50))
    send = f"/datasets/{dataset}/degrade"
    several = api.http.post(send, data={"inputs": inputs, "source": dataset})
    assert several.json()["code"] == "files_and_source"
    too_large = api.http.post(send, data={"inputs": inputs, "crop": 128})
    assert (too_large.status_code, too_large.json()["code"]) == (422, "image_too_small")
    job = api.http.post(send, data={"inputs": inputs, "crop": 64, "crop_step": 36}).json()
    assert [name for _, name, _ in items_of(api, job["id"])] == [*(f"large_s00{n}" for n in range(1, 5)), "small"]
    assert "inputs" not in job["parameters"]


def test_abandoned_inputs_expire_with_their_blobs(api: Api) -> None:
    for hours in (1, 1e-9):
        inputs, _ = service.create(api.store, api.settings.model_copy(update={"upload_hours": hours}), None)
        with api.store.database.write() as session:
            record = {"name": "a.png", "sha256": api.store.blobs.put(b"%f" % hours), "width": 9, "height": 9}
            InputsRepository(session).put_part(inputs.id, 0, None, [record])
    ExpireUploads(api.store, api.settings).run()
    with api.store.database.read() as session:
        assert len(referenced_hashes(session)) == 1
    assert api.http.get(f"/inputs/{inputs.id}").status_code == 404


def test_parts_have_files_and_limits(api: Api) -> None:
    inputs = create(api)
    assert api.http.put(f"/inputs/{inputs}/parts/0", files=[("x", (None, "y"))]).json()["code"] == "no_files"
    assert api.http.put("/inputs/nothing/parts/0", files=as_parts({"a_png": b""})).status_code == 404
    for number in (-1, 100_000, "x"):
        response = api.http.put(f"/inputs/{inputs}/parts/{number}", files=as_parts({"a_png": make_png(9, 9)}))
        assert response.json()["code"] == "invalid_request"


def encode_metadata(**values: str) -> str:
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def test_a_large_part_is_uploaded_resumably(api: Api, dataset: str) -> None:
    """In two pieces, and the first breaks off; the part then has the digest that was given."""
    inputs, photo = create(api), make_png(60, 60)
    metadata = encode_metadata(filename="large.png", digest="its hash", depth="scale")
    create_headers = {**TUS, "Upload-Length": str(len(photo)), "Upload-Metadata": metadata}
    created = api.http.post(f"/inputs/{inputs}/parts/3/uploads", headers=create_headers)
    assert created.status_code == 201, created.text
    location = created.headers["location"]
    for start, stop in ((0, 1000), (1000, len(photo))):
        offset = api.http.head(location, headers=TUS).headers["upload-offset"]
        assert offset == str(start)
        headers = {**TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream"}
        assert api.http.patch(location, headers=headers, content=photo[start:stop]).status_code == 204
    upload = api.http.get(location).json()
    assert (upload["status"], upload["dataset"], upload["inputs"], upload["number"]) == ("accepted", None, inputs, 3)
    assert upload["part"] == {"number": 3, "digest": "its hash", "files": 1, "rejected": []}
    (part,) = api.http.get(f"/inputs/{inputs}").json()["parts"]
    assert (part["number"], part["digest"]) == (3, "its hash")
    put(api, inputs, 0, first_png=make_png(40, 40))
    job = api.http.post("/sr", data={"dataset": dataset, "inputs": inputs}).json()
    assert [name for name, _, _ in items_of(api, job["id"])] == ["first.png", "large.png"]


def test_uploads_of_parts_need_inputs(api: Api) -> None:
    headers = {**TUS, "Upload-Length": "10"}
    assert api.http.post("/inputs/nothing/parts/0/uploads", headers=headers).json()["code"] == "inputs_not_found"
    inputs = create(api)
    created = api.http.post(f"/inputs/{inputs}/parts/0/uploads", headers=headers)
    api.http.delete(f"/inputs/{inputs}")
    assert api.http.get(created.headers["location"]).status_code == 404  # deleted with its inputs
