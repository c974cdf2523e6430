"""`/docs`: Swagger UI from a package instead of another host, and without scripts in the page."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from app.http.headers import CONTENT_SECURITY_POLICY

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Patina: the API</title>
<link rel="stylesheet" href="docs/files/swagger-ui.css">
<link rel="icon" href="docs/files/favicon-32x32.png">
</head>
<body>
<div id="document"></div>
<script src="docs/files/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# validatorUrl: the validator's badge would ask another host.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
# Swagger UI writes styles into the page; scripts still come from files alone.
POLICY = f"{CONTENT_SECURITY_POLICY}; style-src 'self' 'unsafe-inline'"

router = APIRouter(prefix="/docs", include_in_schema=False)
swagger_ui = StaticFiles(directory=str(files("fastapi_swagger") / "resources"))


@router.get("")
def docs() -> HTMLResponse:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/start.js")
def start() -> Response:
    return Response(START, media_type="text/javascript")
