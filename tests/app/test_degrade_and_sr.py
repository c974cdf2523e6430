"""Submitting degrade and sr jobs, and reading jobs."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta

import pytest

from app.jobs.responses import parse_wait
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.repositories.samples import NewSample
from tests.support.api import Api, as_parts, create_archived_job
from tests.support.images import make_png, make_zip


def test_degrade_accepts_files_and_reports_bad_ones_as_failed(api: Api) -> None:
    dataset = api.create_dataset()
    model = api.create_model(dataset)
    files = {"a_png": make_png(50, 40), "b_zip": make_zip({"c.png": make_png(33, 32)}), "bad_png": b"no image"}
    response = api.http.post(f"/datasets/{dataset}/degrade", files=as_parts(files), data={"samples": "3", "seed": "7"})
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["kind"], job["status"], job["model"], job["dataset"]) == ("degrade", "queued", model, dataset)
    assert job["progress"]["total"] == 9
    assert job["progress"]["unit"] == "samples"
    assert job["id"] in api.store.queue.queued_ids()


def test_degrade_a_dataset_s_own_images(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    send = f"/datasets/{dataset}/degrade"
    assert api.http.post(send, data={"source": dataset}).json()["code"] == "no_hr_images"
    api.upload(dataset, "hr", a_png=make_png(128, 128), b_png=make_png(128, 130))
    response = api.http.post(send, data={"source": dataset, "samples": "2"})
    assert response.status_code == 202, response.text
    assert response.json()["progress"]["total"] == 4
    assert api.http.post(send, data={"source": "nowhere"}).json()["code"] == "dataset_not_found"
    files_and_source = api.http.post(send, data={"source": dataset}, files=as_parts({"a_png": make_png(50, 50)}))
    assert files_and_source.json()["code"] == "files_and_source"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"samples": "-1"}, "invalid_request"),
        ({"samples": "0"}, "invalid_request"),
        ({"samples": "many"}, "invalid_request"),
        ({"samples": "1001"}, "too_many_samples"),
        ({"seed": "-1"}, "invalid_request"),
        ({"format": "rar"}, "invalid_request"),
        ({"unknown": "1"}, "invalid_request"),
        ({"crop": "33"}, "crop_not_multiple_of_scale"),
        ({"crop": "16"}, "invalid_request"),
        ({"crop": "64"}, "image_too_small"),
        ({"leave_out": "lr"}, "invalid_request"),
        ({"lr_format": "jpeg"}, "invalid_request"),
        ({"jpeg": "0"}, "invalid_request"),
        ({"jpeg": "90-60"}, "invalid_request"),
        ({"jpeg": "high"}, "invalid_request"),
        ({"validation": "2"}, "invalid_request"),
        ({"min_detail": "0"}, "invalid_request"),
    ],
)
def test_degrade_rejects_invalid_fields_without_a_trace(api: Api, fields: dict[str, str], code: str) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    before = api.find_traces()
    response = api.http.post(f"/datasets/{dataset}/degrade", files=as_parts({"a_png": make_png(50, 40)}), data=fields)
    assert (response.status_code, response.json()["code"]) == (422, code)
    assert api.find_traces() == before


def test_degrade_and_sr_before_any_training(api: Api) -> None:
    dataset = api.create_dataset()
    before = api.find_traces()
    parts = as_parts({"a_png": make_png(50, 40)})
    for response in (
        api.http.post(f"/datasets/{dataset}/degrade", files=parts),
        api.http.post("/sr", files=parts, data={"dataset": dataset}),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "no_model")
        assert "/train" in response.json()["detail"]
    assert api.http.post("/sr", files=parts, data={"dataset": "nowhere"}).json()["code"] == "dataset_not_found"
    assert api.http.post("/sr", files=parts, data={"model": "nowhere"}).json()["code"] == "model_not_found"
    assert api.http.post("/sr", files=parts).json()["code"] == "dataset_or_model"
    assert api.find_traces() == before


def test_no_job_is_created_if_all_files_are_bad(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    before = api.find_traces()
    bad = as_parts({"a_png": b"text", "b_png": make_png(3, 3)})
    response = api.http.post(f"/datasets/{dataset}/degrade", files=bad)
    assert (response.status_code, response.json()["code"]) == (422, "no_image_accepted")
    assert [file["code"] for file in response.json()["rejected"]] == ["not_an_image", "image_too_small"]
    assert api.http.post("/sr", files=as_parts({"a_png": b"text"}), data={"dataset": dataset}).status_code == 422
    assert api.find_traces() == before


def test_results_are_paginated_and_link_to_their_files(api: Api) -> None:
    job, _ = create_archived_job(api)
    first = api.http.get(f"/jobs/{job}/results", params={"limit": 3}).json()
    rest = api.http.get(f"/jobs/{job}/results", params={"limit": 3, "cursor": first["next"]}).json()
    results = first["items"] + rest["items"]
    assert rest["next"] is None
    assert [(result["sample"], result["status"]) for result in results] == [
        (0, "ok"),
        (1, "ok"),
        (0, "failed"),
        (1, "failed"),
    ]
    response = api.http.get(results[1]["links"]["noise"])
    assert response.content == b"noise1"
    assert response.headers["content-disposition"].startswith("attachment")
    assert api.http.get(f"/jobs/{job}/results/1/0/lr").json()["code"] == "file_not_found"
    assert api.http.get(f"/jobs/{job}/results", params={"cursor": "x"}).json()["code"] == "bad_cursor"


def test_cancel_and_retry(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_png": make_png(50, 40)})
    assert api.http.post(f"/jobs/{job}/retry").json()["code"] == "job_not_retryable"
    canceled = api.http.post(f"/jobs/{job}/cancel").json()
    assert canceled["status"] == "canceled"
    assert canceled["finished"] is not None
    retried = api.http.post(f"/jobs/{job}/retry")
    assert (retried.status_code, retried.json()["status"], retried.json()["finished"]) == (202, "queued", None)
    assert api.http.post("/jobs/nowhere/cancel").json()["code"] == "job_not_found"


def test_wait_holds_the_response_until_the_job_changes(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    job = api.degrade(dataset, {"a_png": make_png(50, 40)})
    began = time.monotonic()
    assert api.http.get(f"/jobs/{job}", params={"wait": 0.5}).json()["status"] == "queued"
    assert time.monotonic() - began >= 0.5
    began = time.monotonic()
    finishing = threading.Timer(0.5, api.finish, (job, NewSample(0, 0, {})))
    finishing.start()
    assert api.http.get(f"/jobs/{job}", params={"wait": 30}).json()["status"] != "queued"
    assert time.monotonic() - began < 15
    finishing.join()
    began = time.monotonic()
    assert api.http.get(f"/jobs/{job}", params={"wait": 30}).json()["status"] == "succeeded"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=10", 10),
        ("respond-async, wait = 5", 5),
        ('wait="3"; foo=bar', 3),
        ("Wait=100000", 60),
        ("wait=0", 0),
        ("wait=soon", None),
        ("wait=-1", None),
        ("respond-async", None),
        (None, None),
    ],
)
def test_how_long_a_client_prefers_to_wait(header: str | None, seconds: int | None) -> None:
    assert parse_wait(header) == seconds


def test_a_job_that_outlasts_the_preferred_wait_is_accepted(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    files = as_parts({"a_png": make_png(50, 40)})
    began = time.monotonic()
    response = api.http.post(f"/datasets/{dataset}/degrade", files=files, headers={"Prefer": "wait=1"})
    assert time.monotonic() - began >= 1
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["preference-applied"] == "wait=1"
    assert response.headers["location"] == response.json()["links"]["self"]
    plain = api.http.post("/sr", files=files, data={"dataset": dataset}, headers={"Prefer": "respond-async"})
    assert plain.status_code == 202
    assert "preference-applied" not in plain.headers


def test_jobs_are_listed_newest_first_and_filtered(api: Api) -> None:
    dataset = api.create_dataset()
    api.create_model(dataset)
    jobs = [api.degrade(dataset, {"a_png": make_png(50, 40)}) for _ in range(3)]
    api.http.post(f"/jobs/{jobs[0]}/cancel")
    assert [job["id"] for job in api.http.get("/jobs").json()["items"]] == jobs[::-1]
    canceled = api.http.get("/jobs", params={"status": "canceled"}).json()["items"]
    assert [job["id"] for job in canceled] == jobs[:1]
    assert api.http.get("/jobs", params={"kind": "sr"}).json()["items"] == []
    assert api.http.get("/jobs", params={"status": "lost"}).status_code == 422


def test_models_are_listed_and_their_files_served(api: Api) -> None:
    dataset = api.create_dataset()
    model = api.create_model(dataset)
    assert [item["id"] for item in api.http.get("/models").json()["items"]] == [model]
    assert api.http.get(f"/datasets/{dataset}").json()["models"] == [model]
    job_read = api.http.get(f"/models/{model}").json()
    assert job_read["kernel_origin"] == [-8, -8]
    assert job_read["history"] == [{"step": 1.0, "spectral": 0.5}]
    assert api.http.get(job_read["links"]["degrader.safetensors"]).content == b"a degrader"
    assert api.http.get(f"/models/{model}/files/nope").json()["code"] == "file_not_found"
    assert api.http.get("/models/nowhere").json()["code"] == "model_not_found"


def test_results_expire_and_answer_410(api: Api) -> None:
    job, _ = create_archived_job(api)
    job_read = api.http.get(f"/jobs/{job}").json()
    kept = datetime.fromisoformat(job_read["expires"]) - datetime.fromisoformat(job_read["finished"])
    assert kept == timedelta(days=30)
    link = api.http.get(f"/jobs/{job}/results").json()["items"][0]["links"]["lr"]
    with api.store.database.write() as session:
        session.get_one(Job, job).retention_seconds = -1
    with api.store.database.write() as session:
        assert JobRepository(session).expire() == [job]
    for path in (f"/jobs/{job}/results", f"/jobs/{job}/archive", link):
        response = api.http.get(path)
        assert (response.status_code, response.json()["code"]) == (410, "results_expired"), path
    assert api.http.post(f"/jobs/{job}/retry").json()["code"] == "results_expired"
    assert "archive" not in api.http.get(f"/jobs/{job}").json()["links"]


@pytest.mark.parametrize(
    ("fields", "parameters"),
    [
        ({}, {"image_format": "png", "format": "zip", "depth": "8", "metadata": "keep", "color": "srgb"}),
        ({"format": "jpeg", "quality": "80"}, {"image_format": "jpeg", "quality": 80, "format": "zip"}),
        ({"format": "tar"}, {"image_format": "png", "format": "tar"}),  # before results had formats
        ({"format": "tiff", "depth": "16", "archive": "tar"}, {"image_format": "tiff", "depth": "16", "format": "tar"}),
        ({"format": "webp", "depth": "keep", "metadata": "drop"}, {"depth": "keep", "metadata": "drop"}),
    ],
)
def test_sr_options_become_parameters(api: Api, fields: dict[str, str], parameters: dict[str, object]) -> None:
    api.create_model(dataset := api.create_dataset())
    files = as_parts({"a_png": make_png(20, 20)})
    job = api.http.post("/sr", files=files, data={"dataset": dataset, **fields}).json()
    assert parameters.items() <= job["parameters"].items()


@pytest.mark.parametrize("fields", [{"quality": "80"}, {"format": "jpeg", "depth": "16"}, {"format": "gif"}])
def test_sr_options_that_exclude_each_other(api: Api, fields: dict[str, str]) -> None:
    api.create_model(dataset := api.create_dataset())
    files = as_parts({"a_png": make_png(20, 20)})
    response = api.http.post("/sr", files=files, data={"dataset": dataset, **fields})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
