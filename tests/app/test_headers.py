"""Security headers of every response, and a docs page that needs no other host."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs

from store.errors import DatabaseError
from tests.support.api import Api

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/health", 200), ("GET", "/nowhere", 404), ("PUT", "/datasets", 405), ("POST", "/datasets", 422)],
)
def test_every_response_has_the_security_headers(api: Api, method: str, path: str, status: int) -> None:
    response = api.http.request(method, path, headers={"Origin": "http://elsewhere.example"} if method == "GET" else {})
    assert response.status_code == status
    assert SECURITY_HEADERS.items() <= dict(response.headers).items()
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_an_internal_error_has_the_headers_and_is_logged(api: Api) -> None:
    api.store.database.close()
    (api.settings.data_dir / "patina.sqlite").write_bytes(b"no database at all\n" * 1000)
    with capture_logs() as lines:
        response = api.http.get("/jobs")
    assert response.status_code == 500
    assert [(line["path"], type(line["exc_info"])) for line in lines] == [("/jobs", DatabaseError)]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_downloads_are_attachments_of_a_fixed_type(api: Api) -> None:
    model = api.create_model(api.create_dataset())
    response = api.http.get(f"/models/{model}/files/degrader.safetensors")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"].startswith("attachment")
    assert response.headers["x-content-type-options"] == "nosniff"


def test_the_docs_page_needs_no_other_host_or_inline_script(api: Api) -> None:
    page = api.http.get("/docs")
    assert "script-src" not in page.headers["content-security-policy"]  # then default-src 'self' applies to scripts
    assert not re.search(r"<script>|https?:|//", page.text)
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert api.http.get(f"/{link}").status_code == 200, link
