"""Every endpoint of the OpenAPI document, also future ones, called without the needed permission."""

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
from tests.support.api import AuthApi
from tests.support.images import make_png

TUS = {"Tus-Resumable": "1.0.0"}
FILES = {"files": [("files", ("a.png", make_png(160, 160)))]}
# What an endpoint needs besides its path; the others need nothing.
ARGUMENTS: dict[tuple[str, str], dict[str, Any]] = {
    ("patch", "/datasets/{dataset_id}"): {"json": {"shared": True}},
    ("post", "/datasets/{dataset_id}/images"): {"params": {"role": "lr"}, **FILES},
    ("post", "/datasets/{dataset_id}/train"): {"json": {}},
    ("post", "/datasets/{dataset_id}/degrade"): FILES,
    ("post", "/datasets/{dataset_id}/uploads"): {"params": {"role": "lr"}, "headers": {"Upload-Length": "10"}},
    ("post", "/inputs"): {"json": {}},
    ("put", "/inputs/{inputs_id}/parts/{number}"): FILES,
    ("post", "/inputs/{inputs_id}/parts/{number}/uploads"): {"headers": {"Upload-Length": "10"}},
    ("patch", "/uploads/{upload_id}"): {
        "headers": {"Upload-Offset": "0", "Content-Type": PART},
        "content": b"0123456789",
    },
}


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str  # with its parameters, as in the document

    def call(self, auth_api: AuthApi, records: dict[str, str], who: str | None = None) -> Any:
        request = ARGUMENTS.get((self.method, self.path), {})
        headers = TUS | request.get("headers", {})
        if who is not None:
            headers |= {"Authorization": f"Bearer {auth_api.get_token(who)}"}
        return auth_api.http.request(self.method, self.path.format(**records), **request | {"headers": headers})


def list_endpoints(auth_api: AuthApi) -> Iterator[Endpoint]:
    for path, methods in auth_api.http.get("/openapi.json").json()["paths"].items():
        for method in methods:
            yield Endpoint(method, path)


@pytest.fixture
def alice_resources(auth_api: AuthApi) -> dict[str, str]:
    """The path parameters of Alice's resources, one of each kind."""
    auth_api.get_token("alice")
    with auth_api.store.database.read() as session:
        (token,) = TokenRepository(session).list_all()
    records = write_records(auth_api.store.as_caller(Caller(token.id, is_admin=True)))
    with auth_api.store.database.read() as session:
        records["image_id"] = DatasetRepository(session).list_images(records["dataset_id"])[0].id
    return records


def test_an_id_grants_no_access(auth_api: AuthApi, alice_resources: dict[str, str]) -> None:
    with_ids = [
        endpoint for endpoint in list_endpoints(auth_api) if "{" in endpoint.path and endpoint.method != "options"
    ]
    assert len(with_ids) > 25
    responses = {endpoint: endpoint.call(auth_api, alice_resources, "bob") for endpoint in with_ids}
    assert {
        endpoint: response.status_code for endpoint, response in responses.items() if response.status_code != 404
    } == {}
    unknown_ids = {name: "nothing" if name.endswith("_id") else value for name, value in alice_resources.items()}
    for endpoint, response in responses.items():
        if endpoint.method != "head":
            unknown = endpoint.call(auth_api, unknown_ids, "bob").json()
            assert response.json()["code"] == unknown["code"], (
                f"{endpoint} distinguishes a resource of another from a missing one"
            )
    readable = [endpoint for endpoint in with_ids if endpoint.method == "get" and "preview" not in endpoint.path]
    assert {
        endpoint for endpoint in readable if not endpoint.call(auth_api, alice_resources, "alice").is_success
    } == set(), "Alice has one of each"


def test_the_read_scope_changes_nothing(auth_api: AuthApi, alice_resources: dict[str, str]) -> None:
    auth_api.get_token("reader", "read")
    unsafe = [endpoint for endpoint in list_endpoints(auth_api) if endpoint.method not in ("get", "head", "options")]
    assert len(unsafe) > 14
    for endpoint in unsafe:
        response = endpoint.call(auth_api, alice_resources, "reader")
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope"), endpoint


def test_without_a_token_only_public_paths_respond(auth_api: AuthApi, alice_resources: dict[str, str]) -> None:
    responses = {
        endpoint: endpoint.call(auth_api, alice_resources).status_code for endpoint in list_endpoints(auth_api)
    }
    assert len(responses) > 35
    public = {endpoint.path for endpoint, status in responses.items() if status != 401}
    assert public == {"/health", "/health/workers", "/ready"}
