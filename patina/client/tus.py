"""Sending one large file in parts, by the protocol tus: where the connection breaks, what has come stays."""

from __future__ import annotations

import base64
from functools import partial
from http import HTTPStatus
from pathlib import Path

from patina.client.flow import Ask, Flow, Pause, Work
from patina.client.http import PAUSES, asked_again
from patina.client.photo_files import NamedFile
from patina.client.schemas import Upload
from patina.errors import LostServiceError, ServiceError

PART_BYTES = 8 * 2**20
TUS = {"Tus-Resumable": "1.0.0"}
OUT_OF_STEP = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.LOCKED}


def send_in_parts(dataset: str, role: str, file: NamedFile) -> Flow[Upload]:
    """Raises `ServiceError` where nothing of it can be used, `LostServiceError` where part after part is lost."""
    name, path = file
    length = path.stat().st_size
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    begin = Ask("POST", f"/datasets/{dataset}/uploads", {"params": {"role": role}, "headers": headers})
    place = (yield from asked_again(begin)).headers["Location"]
    offset, lost = 0, 0
    while offset < length:
        part = yield Work(partial(_read, path, offset))
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        try:
            answer = yield Ask("PATCH", place, {"headers": headers, "content": part})
        except (LostServiceError, ServiceError) as error:
            out_of_step = not isinstance(error, ServiceError) or error.status in OUT_OF_STEP
            if not out_of_step or lost == len(PAUSES):
                raise
            yield Pause(PAUSES[lost])
            lost += 1
            answer = yield from asked_again(Ask("HEAD", place, {"headers": TUS}))
        reached = int(answer.headers["Upload-Offset"])
        if reached > offset:
            lost = 0
        offset = reached
    told = (yield from asked_again(Ask("GET", place))).json()
    if problem := told["problem"]:  # that it was refused was said, and lost on the way
        raise ServiceError(problem["status"], problem["code"], problem["detail"], problem)
    return Upload.model_validate(told["result"])


def _read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES)
