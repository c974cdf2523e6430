"""Serves the page and its files, and stores the page's token in a cookie."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from app.auth.middleware import COOKIE
from app.http.problems import not_found
from app.http.root_path import link
from page import FOLDER

router = APIRouter(include_in_schema=False)

HEADERS = {"Cache-Control": "no-cache"}  # browsers revalidate each time, so an update is seen at once
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# A fixed map from names to files: a request cannot reach any other file.
FILES = {
    path.relative_to(FOLDER).as_posix(): path
    for path in FOLDER.rglob("*")
    if path.is_file() and path.suffix in MEDIA_TYPES
}


@router.get("/", response_class=FileResponse)
def get_page() -> FileResponse:
    return get_page_file("index.html")


@router.get("/page/{name:path}", response_class=FileResponse)
def get_page_file(name: str) -> FileResponse:
    path = FILES.get(name)
    if path is None:
        raise not_found("page", name)
    return FileResponse(path, HTTPStatus.OK, HEADERS, media_type=MEDIA_TYPES[path.suffix])


class SessionCreate(BaseModel):
    token: str = Field(min_length=1, max_length=500)


@router.post("/page/session", status_code=HTTPStatus.NO_CONTENT)
def create_session(payload: SessionCreate, request: Request, response: Response) -> None:
    """Stores a token in a session cookie that scripts cannot read. The token is checked when it is used."""
    response.set_cookie(
        COOKIE,
        payload.token.strip(),
        path=link("/"),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
