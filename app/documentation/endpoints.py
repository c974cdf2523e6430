"""`/docs`: Swagger UI from a Python package instead of a CDN, without inline scripts."""

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
# validatorUrl is off because the validator's badge is loaded from another host.
START = """\
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
# Swagger UI inserts inline styles; scripts still come only from files.
POLICY = f"{CONTENT_SECURITY_POLICY}; style-src 'self' 'unsafe-inline'"

router = APIRouter(prefix="/docs", include_in_schema=False)
swagger_ui = StaticFiles(directory=str(files("fastapi_swagger") / "resources"))


@router.get("")
def get_docs() -> HTMLResponse:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})


@router.get("/start.js")
def get_start_script() -> Response:
    return Response(START, media_type="text/javascript")
