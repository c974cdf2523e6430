"""Every call that the OpenAPI document has, one that is added later too: asked by those who may not make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.uploads.tus import PART
from fuzz.api import write_records
from store.db.access import Caller
from store.repositories.datasets import DatasetRepository
from store.repositories.tokens import TokenRepository
from tests.app.test_tokens import Door, door  # noqa: F401 - a fixture
from tests.pictures import make_png

TUS = {"Tus-Resumable": "1.0.0"}
FILES = {"files": [("files", ("a.png", make_png(160, 160)))]}
# What a call takes beside its path; those of others need nothing.
TAKES: dict[tuple[str, str], dict[str, Any]] = {
    ("patch", "/datasets/{dataset_id}"): {"json": {"shared": True}},
    ("post", "/datasets/{dataset_id}/images"): {"params": {"role": "lr"}, **FILES},
    ("post", "/datasets/{dataset_id}/train"): {"json": {}},
    ("post", "/datasets/{dataset_id}/degrade"): FILES,
    ("post", "/datasets/{dataset_id}/uploads"): {"params": {"role": "lr"}, "headers": {"Upload-Length": "10"}},
    ("patch", "/uploads/{upload_id}"): {
        "headers": {"Upload-Offset": "0", "Content-Type": PART},
        "content": b"0123456789",
    },
}


@dataclass(frozen=True)
class Call:
    method: str
    path: str  # as the document has it

    def make(self, door: Door, records: dict[str, str], who: str | None = None) -> Any:  # noqa: F811
        request = TAKES.get((self.method, self.path), {})
        headers = TUS | request.get("headers", {})
        if who is not None:
            headers |= {"Authorization": f"Bearer {door.token(who)}"}
        return door.http.request(self.method, self.path.format(**records), **request | {"headers": headers})


def calls(door: Door) -> Iterator[Call]:  # noqa: F811
    for path, methods in door.http.get("/openapi.json").json()["paths"].items():
        for method in methods:
            yield Call(method, path)


@pytest.fixture
def annas(door: Door) -> dict[str, str]:  # noqa: F811
    """What paths must name for the things of hers, one of each kind."""
    door.token("anna")
    with door.store.database.read() as session:
        (token,) = TokenRepository(session).list_all()
    records = write_records(door.store.seen_by(Caller(token.id, sees_all=True)))
    with door.store.database.read() as session:
        records["image_id"] = DatasetRepository(session).list_images(records["dataset_id"])[0].id
    return records


def test_an_id_grants_nothing(door: Door, annas: dict[str, str]) -> None:  # noqa: F811
    named = [call for call in calls(door) if "{" in call.path and call.method != "options"]
    assert len(named) > 25
    answers = {call: call.make(door, annas, "ben") for call in named}
    assert {call: answer.status_code for call, answer in answers.items() if answer.status_code != 404} == {}
    made_up = {name: "nothing" if name.endswith("_id") else value for name, value in annas.items()}
    for call, answer in answers.items():
        if call.method != "head":
            unknown = call.make(door, made_up, "ben").json()
            assert answer.json()["code"] == unknown["code"], f"{call} tells what is another's from what is not there"
    seen = [call for call in named if call.method == "get" and "preview" not in call.path]
    assert {call for call in seen if not call.make(door, annas, "anna").is_success} == set(), "she has one of each"


def test_who_may_only_read_changes_nothing(door: Door, annas: dict[str, str]) -> None:  # noqa: F811
    door.token("reader", "read")
    changing = [call for call in calls(door) if call.method not in ("get", "head", "options")]
    assert len(changing) > 14
    for call in changing:
        answer = call.make(door, annas, "reader")
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), call


def test_without_a_token_only_what_is_open_answers(door: Door, annas: dict[str, str]) -> None:  # noqa: F811
    answers = {call: call.make(door, annas).status_code for call in calls(door)}
    assert len(answers) > 35
    assert {call.path for call, status in answers.items() if status != 401} == {"/health", "/ready"}
