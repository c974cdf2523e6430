"""Calls for the page and its files."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from app.auth.middleware import COOKIE
from app.http.problems import not_found
from page import FOLDER

router = APIRouter(include_in_schema=False)

HEADERS = {"Cache-Control": "no-cache"}  # asked for again each time, and answered 304: an update is seen at once
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# By the name that they are asked for: nothing else in the folder, or outside of it, can be.
FILES = {
    path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file() and path.suffix in TYPES
}


@router.get("/", response_class=FileResponse)
def get_page() -> FileResponse:
    return get_page_file("index.html")


@router.get("/page/{name:path}", response_class=FileResponse)
def get_page_file(name: str) -> FileResponse:
    path = FILES.get(name)
    if path is None:
        raise not_found("page", name)
    return FileResponse(path, HTTPStatus.OK, HEADERS, media_type=TYPES[path.suffix])


class SessionCreate(BaseModel):
    token: str = Field(min_length=1, max_length=500)


@router.post("/page/session", status_code=HTTPStatus.NO_CONTENT)
def open_session(wanted: SessionCreate, request: Request, response: Response) -> None:
    """Keeps a token in a cookie that scripts cannot read, until the browser is closed. If it is good shows later."""
    response.set_cookie(
        COOKIE, wanted.token.strip(), httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
