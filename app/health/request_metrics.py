"""Measures how long requests of this process wait for their response."""

from __future__ import annotations

import time
from http import HTTPMethod, HTTPStatus

from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.routes import OTHER, find_route

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
METHODS = frozenset(HTTPMethod)


def create_histogram() -> Histogram:
    return Histogram(
        "patina_request_seconds",
        "Time from a request's headers to those of its response, of this API process.",
        ["method", "route", "status"],
        buckets=BUCKETS,
        registry=None,
    )


class RequestMetrics:
    """ASGI middleware. `route` is the path's template, such as /jobs/{job_id}.

    A response's body is not counted: how long a download or a stream takes is up to the client.
    """

    def __init__(self, app: ASGIApp, histogram: Histogram):
        self.app = app
        self.histogram = histogram

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, observed = time.perf_counter(), False

        def observe(status: int) -> None:
            nonlocal observed
            if not observed:
                method = scope["method"] if scope["method"] in METHODS else OTHER
                labels = self.histogram.labels(method, find_route(scope), status)
                labels.observe(time.perf_counter() - started)
            observed = True

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                observe(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception:  # Starlette answers it, outside of all middleware
            observe(HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
