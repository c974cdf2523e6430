# Generated from patina/client/_async/tus.py by scripts/unasync.py; do not edit.
"""Sends one large file in parts with the tus protocol. After a broken connection, only the last part is sent again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from patina.client import http
from patina.client._sync.concurrency import run_blocking, sleep
from patina.client._sync.connection import Connection
from patina.client.photo_files import NamedFile, read_part
from patina.errors import ServiceError, ServiceUnavailableError

TUS = {"Tus-Resumable": "1.0.0"}
# The service's offset may differ from the client's: ask for it and resume.
RESUMABLE_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED}


def send_resumable(
    connection: Connection, path: str, file: NamedFile, fields: Mapping[str, str], **params: str
) -> dict[str, Any]:
    """Creates an upload at a path, and sends a file with form fields as its metadata. Returns the finished upload.

    Raises `ServiceError` if the service can use nothing of it, `ServiceUnavailableError` if all retries of a part fail.
    """
    name, source = file
    length = source.stat().st_size
    pairs = {"filename": name, **fields}
    metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
    headers = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    created = connection.request_with_retries("POST", path, params=params, headers=headers)
    location = connection.to_path(created.headers["Location"])
    offset, failures = 0, 0
    while offset < length:
        part = run_blocking(partial(read_part, source, offset))
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        try:
            response = connection.request("PATCH", location, headers=headers, content=part)
        except (ServiceUnavailableError, ServiceError) as error:
            resumable = isinstance(error, ServiceUnavailableError) or error.status in RESUMABLE_STATUSES
            if not resumable or failures == len(http.RETRY_DELAYS):
                raise
            sleep(http.RETRY_DELAYS[failures])
            failures += 1
            response = connection.request_with_retries("HEAD", location, headers=TUS)
        new_offset = int(response.headers["Upload-Offset"])
        if new_offset > offset:
            failures = 0
        offset = new_offset
    outcome: dict[str, Any] = (connection.request_with_retries("GET", location)).json()
    if problem := outcome["problem"]:  # the response to the last part was lost
        raise ServiceError(problem["status"], problem["code"], problem["detail"], problem)
    return outcome
